import uuid

from hypothesis import given
from hypothesis import strategies as st

from control_plane.queuer.allot import SHARES, Line, allot

SERVERS = [uuid.UUID(int=number) for number in range(1, 6)]
EMPTY = (0, 0, 0)

depths = st.dictionaries(
    st.sampled_from(SERVERS), st.tuples(*[st.integers(0, 2000)] * 3), min_size=len(SERVERS), max_size=len(SERVERS)
)
lines = st.lists(st.builds(Line, st.sampled_from(SERVERS), st.integers(0, 2)), unique=True)


@given(lines, depths, st.integers(1, 5000), st.integers(1, 2000))
def test_no_stream_is_filled_beyond_its_share_and_no_server_beyond_its_bound(
    lines: list[Line], depths: dict[uuid.UUID, tuple[int, int, int]], bound: int, batch: int
) -> None:
    dealt = allot(lines, depths, bound, batch)

    assert set(dealt) <= set(lines)
    for line, places in dealt.items():
        assert places > 0
        assert depths[line.vps_id][line.priority] + places <= max(1, bound * SHARES[line.priority] // 10)
    assert sum(dealt.values()) <= max(batch, len(lines))


@given(lines, st.integers(10, 5000), st.integers(1, 2000))
def test_every_line_with_room_gets_some(lines: list[Line], bound: int, batch: int) -> None:
    assert set(allot(lines, dict.fromkeys(SERVERS, EMPTY), bound, batch)) == set(lines)


def test_low_keeps_a_tenth_however_much_high_and_normal_wait() -> None:
    full_but_low = {SERVERS[0]: (400, 500, 0)}
    everything = [Line(SERVERS[0], priority) for priority in range(3)]
    assert allot(everything, full_but_low, 1000, 1000) == {Line(SERVERS[0], 2): 100}


def test_high_finds_room_however_much_else_waits() -> None:
    full_but_high = {SERVERS[0]: (0, 500, 100)}
    assert allot([Line(SERVERS[0], 0)], full_but_high, 1000, 1000) == {Line(SERVERS[0], 0): 400}


def test_what_an_even_deal_leaves_goes_to_high_first() -> None:
    high, low = Line(SERVERS[0], 0), Line(SERVERS[1], 2)
    dealt = allot([low, high], dict.fromkeys(SERVERS, EMPTY), 1000, 300)
    assert dealt == {high: 200, low: 100}


def test_a_server_with_much_room_does_not_take_anothers_part_of_the_batch() -> None:
    busy, small = Line(SERVERS[0], 1), Line(SERVERS[1], 1)
    assert allot([busy, small], dict.fromkeys(SERVERS, EMPTY), 10_000, 100) == {busy: 50, small: 50}
