"""How long disks last by how they were before."""

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.disk_forecast import SPANS, DiskForecast, seconds_left
from protos.agent.v1.telemetry_pb2 import Disk

MINUTE, HOUR = 60.0, 3600.0
#: Seconds between two reports, which settings allow no more of.
REPORT = 15.0
MIB, GIB = 1 << 20, 1 << 30
ROOMY = 40 * GIB
_STEPS = st.floats(0.01, 10_000)
_LEFT = st.integers(0, 2**63)

Free = Callable[[float], float]


def disk(mount: str = "/", *, free: int = 0, inodes: int = 0, size: int = ROOMY) -> Disk:
    return Disk(mount=mount, total_bytes=size, free_bytes=free, inodes_total=size, inodes_free=inodes)


def lasting(told: Disk) -> tuple[int | None, int | None]:
    space = told.seconds_to_full if told.HasField("seconds_to_full") else None
    inodes = told.seconds_to_no_inodes if told.HasField("seconds_to_no_inodes") else None
    return space, inodes


def foretold(free: Free, until: float, *, size: Free = lambda at: ROOMY, first: float = 0.0) -> dict[float, int | None]:
    """Return what is told at each report of a disk of which so much is left."""
    forecast, at, told = DiskForecast(), first, dict[float, int | None]()
    while at <= until:
        told[at] = lasting(forecast.told([disk(free=int(max(free(at), 0)), size=int(size(at)))], at)[0])[0]
        at += REPORT
    return told


def steady(began: float, lasts: float, free: float = 20 * GIB) -> Free:
    """Return a disk of which nothing becomes less until it begins to fill."""
    return lambda at: free * (1 - max(at - began, 0) / lasts)


def test_what_does_not_become_less_comes_to_no_end() -> None:
    assert seconds_left([(0, 60), (30, 60), (60, 60)]) is None
    assert seconds_left([(0, 40), (30, 45), (60, 50)]) is None
    assert seconds_left([(0, 100), (30, 75), (60, 50)]) == 60


def test_one_drop_foretells_nothing() -> None:
    assert seconds_left([(60, 50)]) is None
    assert seconds_left([(0, 100), (60, 50)]) is None
    assert seconds_left([(0, 100), (30, 100), (60, 50)]) is None
    assert seconds_left([(0, 100), (30, 50), (60, 50)]) is None


def test_it_is_taken_to_go_on_as_in_its_slowest_part() -> None:
    assert seconds_left([(0, 100), (30, 40), (60, 20)]) == 30
    assert seconds_left([(0, 100), (30, 80), (60, 20)]) == 30
    assert seconds_left([(0, 100), (50, 40), (60, 20)]) == pytest.approx(20 / 1.2)


def test_what_becomes_less_is_believed_to_go_on_four_times_as_long() -> None:
    assert seconds_left([(0, 500), (30, 450), (60, 400)]) == 240
    assert seconds_left([(0, 501), (30, 451), (60, 401)]) is None


def test_of_what_is_used_up_nothing_is_foretold() -> None:
    assert seconds_left([(0, 100), (30, 50), (60, 0)]) is None


def test_each_mount_lasts_by_itself_of_space_and_of_inodes() -> None:
    forecast = DiskForecast()
    forecast.told([disk("/", free=90, inodes=90), disk("/var", free=90, inodes=75)], 0.0)
    forecast.told([disk("/", free=75, inodes=90), disk("/var", free=90, inodes=50)], 15 * MINUTE)
    root, var = forecast.told([disk("/", free=60, inodes=90), disk("/var", free=89, inodes=25)], 30 * MINUTE)
    assert lasting(root) == (3600, None)
    assert lasting(var) == (None, 900)


def test_inodes_are_foretold_as_space_is_and_their_steps_too() -> None:
    forecast, told = DiskForecast(), []
    for report in range(240):
        at = report * REPORT
        steps = 10**6 - (300_000 if at >= 1800 else 0)
        fills = round(10**6 - 200 * at)
        seen = forecast.told([disk("/", free=GIB, inodes=fills), disk("/boot", free=GIB, inodes=steps)], at)
        told.append([lasting(each) for each in seen])
    assert told[-1][0] == (None, 10**6 // 200 - 239 * 15)
    assert {boot for _, boot in told} == {(None, None)}


@pytest.mark.parametrize("behind", [0.0, 0.1, 7.0, 14.9])
@pytest.mark.parametrize("began", [0.0, 10 * MINUTE, HOUR, 7 * HOUR])
def test_what_is_full_in_ten_minutes_is_told_of_within_two_and_a_half(began: float, behind: float) -> None:
    began += behind
    told = foretold(steady(began, 10 * MINUTE), began + 10 * MINUTE)
    first = next(at for at, lasts in told.items() if lasts is not None)
    assert 0 < first - began <= 2.5 * MINUTE
    # And from then on until it is full, and nearly to the second where a window has the filling alone.
    going_on = {at: lasts for at, lasts in told.items() if first <= at < began + 10 * MINUTE}
    assert None not in going_on.values()
    later = {at: lasts for at, lasts in going_on.items() if at >= began + 3 * MINUTE}
    assert all(lasts == pytest.approx(began + 600 - at, rel=0.1, abs=1) for at, lasts in later.items())


def test_what_fills_at_once_and_then_by_the_second_is_told_of_at_the_second_report_of_it() -> None:
    """As in tests/flow/test_detection.py: 400 MiB are filled to 82 % in a moment, and then by a MiB a second."""
    size = 400 * MIB
    told = foretold(lambda at: size * 0.5 if at < 100 else size * 0.18 - MIB * (at - 100), 160, size=lambda at: size)
    assert {at: lasts for at, lasts in told.items() if at >= 90} == {90: None, 105: None, 120: 52, 135: 37, 150: 22}


@pytest.mark.parametrize(
    ("lasts", "after"),
    [
        (30 * MINUTE, 8 * MINUTE),
        (2 * HOUR, 30 * MINUTE),
        (12 * HOUR, 3 * HOUR),
        (24 * HOUR, 6 * HOUR),
    ],
)
@pytest.mark.parametrize("began", [0.0, 7 * HOUR])
def test_what_fills_slowly_is_told_of_once_it_is_seen_for_a_fifth_of_the_time(
    began: float, lasts: float, after: float
) -> None:
    told = foretold(steady(began, lasts), began + lasts * 0.6)
    assert all(each is None for at, each in told.items() if at < began + lasts / 8)
    assert all(
        each == pytest.approx(began + lasts - at, rel=0.1) for at, each in told.items() if at >= began + after * 1.2
    )


def test_what_would_last_for_longer_than_a_day_is_not_told_of() -> None:
    assert set(foretold(steady(0, 48 * HOUR), 12 * HOUR).values()) == {None}


@pytest.mark.parametrize("background", [0, 10_000])
@pytest.mark.parametrize("still", [REPORT, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR])
@pytest.mark.parametrize(
    ("free", "written"),
    [
        # A kernel in /boot.
        (350 * MIB, 100 * MIB),
        # A file on a disk that is 86 % full.
        (6 * GIB, 1.3 * GIB),
    ],
)
def test_one_step_foretells_nothing_neither_then_nor_later(
    free: float, written: float, still: float, background: int
) -> None:
    grows = background if free >= GIB else background // 10
    told = foretold(lambda at: free - (written if at >= still else 0) - grows * at / REPORT, still + 7 * HOUR)
    assert set(told.values()) == {None}


@pytest.mark.parametrize("between", [MINUTE, 10 * MINUTE, HOUR, 3 * HOUR])
def test_two_steps_foretell_nothing(between: float) -> None:
    told = foretold(lambda at: 350 * MIB - 100 * MIB * ((at >= HOUR) + (at >= HOUR + between)), 10 * HOUR)
    assert set(told.values()) == {None}


@pytest.mark.parametrize(
    ("seconds", "forgotten"), [(2 * MINUTE, MINUTE), (10 * MINUTE, 4 * MINUTE), (HOUR, 40 * MINUTE)]
)
def test_what_ended_is_soon_told_of_no_more(seconds: float, forgotten: float) -> None:
    ended = 7 * HOUR + seconds
    told = foretold(lambda at: 20 * GIB * (1 - 0.5 * min(max(at - 7 * HOUR, 0) / seconds, 1)), ended + 8 * HOUR)
    assert told[max(at for at in told if at <= ended)] is not None
    assert {lasts for at, lasts in told.items() if at > ended + forgotten} == {None}


@pytest.mark.parametrize("late", [0.0, 0.5])
@pytest.mark.parametrize("every", [2 * MINUTE, 7 * MINUTE, HOUR])
def test_what_fills_in_bursts_is_told_of_all_the_time(every: float, late: float) -> None:
    bursts = 20
    told = foretold(lambda at: 100 * MIB * (bursts - at // every), (bursts - 1) * every, first=late)
    seen = {at: lasts for at, lasts in told.items() if at >= 9 * every}
    assert None not in seen.values()
    # As in its slowest quarter, which has a burst in the time of two at least, or two in that of one.
    for at, lasts in seen.items():
        assert lasts is not None
        assert 0.5 <= lasts / (every * (bursts - at // every)) <= 2


def test_after_a_shed_it_is_told_of_by_what_fills_since() -> None:
    def free(at: float) -> float:
        return 8 * GIB - 10 * MIB * at + (4 * GIB if at >= 500 else 0)

    told = foretold(free, 1000)
    assert told[495] == pytest.approx(free(495) / (10 * MIB), abs=1)
    # What is left has become more in each window that began before, and what fills since must be seen for long enough.
    assert [told[at] for at in (510, 525, 540, 600)] == [None] * 4
    assert told[705] == pytest.approx(free(705) / (10 * MIB), abs=1)
    # Where nothing is written after it, there is nothing to tell.
    still = foretold(lambda at: free(min(at, 500)), 8 * HOUR)
    assert {lasts for at, lasts in still.items() if at >= 500} == {None}


@pytest.mark.parametrize("own", [2 * GIB, 20 * GIB])
@pytest.mark.parametrize("lasts", [10 * MINUTE, HOUR, 6 * HOUR])
def test_of_a_pool_that_fills_each_dataset_tells(lasts: float, own: float) -> None:
    """A ZFS dataset is as large as what it has and what is left of its pool, which its neighbours fill."""
    free = steady(0, lasts)
    told = foretold(free, lasts - MINUTE, size=lambda at: own + free(at))
    late = {at: each for at, each in told.items() if at >= lasts * 0.4}
    assert all(each == pytest.approx(lasts - at, rel=0.1, abs=1) for at, each in late.items())


def test_a_size_that_drifts_keeps_its_history() -> None:
    free = steady(0, HOUR)
    told = foretold(free, 50 * MINUTE, size=lambda at: ROOMY - 131_072 * at)
    assert told == foretold(free, 50 * MINUTE)
    assert told[50 * MINUTE] == 600


@pytest.mark.parametrize("by", [0.02, 0.5, 1.0])
def test_a_disk_that_is_made_larger_is_told_of_by_what_fills_since(by: float) -> None:
    added = by * ROOMY
    told = foretold(
        lambda at: 10 * GIB - 10 * MIB * at + (added if at >= 600 else 0),
        900,
        size=lambda at: ROOMY + (added if at >= 600 else 0),
    )
    assert told[585] == 1024 - 585
    # Over that moment it seems to have filled the slower.
    ends = 1024 + added / (10 * MIB)
    assert all(lasts is None or lasts >= ends - at - 1 for at, lasts in told.items() if at >= 600)
    assert by > 0.02 or told[900] == pytest.approx(ends - 900, abs=1)


def test_a_disk_that_is_made_smaller_is_no_fuller_soon() -> None:
    lost = ROOMY // 4
    told = foretold(
        lambda at: 20 * GIB - (lost if at >= HOUR else 0), 8 * HOUR, size=lambda at: ROOMY - (lost if at >= HOUR else 0)
    )
    assert set(told.values()) == {None}


def test_a_disk_of_another_size_in_its_place_is_another() -> None:
    """By its size alone: as of what is left, it would go on filling."""
    replaced = foretold(lambda at: 10 * GIB - 10 * MIB * at, 900, size=lambda at: ROOMY * (1.02 if at >= 600 else 1))
    assert replaced[585] == 1024 - 585
    assert [replaced[at] for at in (600, 615, 630)] == [None] * 3
    assert replaced[900] == 124
    same = foretold(lambda at: 10 * GIB - 10 * MIB * at, 900, size=lambda at: ROOMY * (1.005 if at >= 600 else 1))
    assert same[600] == 424


def test_a_disk_that_was_gone_begins_anew() -> None:
    forecast = DiskForecast()
    told = []
    for report in range(20):
        seen = [] if report == 15 else [disk(free=100 - 4 * report)]
        told += [lasting(each)[0] for each in forecast.told(seen, report * REPORT)]
    assert told[14] is not None
    assert told[15:17] == [None, None]


@given(st.lists(st.tuples(_STEPS, _LEFT), min_size=1, max_size=30))
def test_whatever_is_told_was_seen_before_some_moment_and_since(seen: list[tuple[float, int]]) -> None:
    forecast, at, moments = DiskForecast(), 0.0, list[tuple[float, int]]()
    for step, free in seen:
        at += step
        space, inodes = lasting(forecast.told([disk(free=free, size=2**63)], at)[0])
        believed = {
            round(lasts)
            for first, then in combinations(moments, 2)
            if at - first[0] <= max(SPANS) and (lasts := seconds_left([first, then, (at, free)])) is not None
        }
        assert space is None or any(space >= lasts for lasts in believed)
        assert inodes is None
        moments.append((at, free))


@given(
    before=st.lists(_STEPS, min_size=1, max_size=30),
    after=st.lists(_STEPS, max_size=30),
    free=st.integers(1, 2**62),
    written=st.integers(0, 2**62),
)
def test_of_one_step_nothing_is_ever_told(before: list[float], after: list[float], free: int, written: int) -> None:
    forecast, at = DiskForecast(), 0.0
    seen = [*((step, free + written) for step in before), *((step, free) for step in after)]
    for step, left in seen:
        at += step
        assert lasting(forecast.told([disk(free=left, size=2**63)], at)[0]) == (None, None)


@given(
    before=st.lists(st.tuples(st.floats(0.01, 3600), st.integers(0, ROOMY)), max_size=20),
    lasts=st.floats(2 * MINUTE, 2 * HOUR),
    every=st.floats(5, REPORT),
    free=st.integers(GIB, ROOMY),
)
def test_whatever_was_before_a_steady_filling_is_told_of_before_a_third_of_it(
    before: list[tuple[float, int]], lasts: float, every: float, free: int
) -> None:
    forecast, began = DiskForecast(), 0.0
    for step, left in before:
        began += step
        forecast.told([disk(free=left)], began)
    # The moments that are remembered are apart, and three of them make the least window.
    told, since, known = None, 0.0, lasts / 3 + 3 * REPORT
    while since < known:
        since += every
        left = round(free * (1 - since / lasts))
        told = lasting(forecast.told([disk(free=left)], began + since)[0])[0]
    assert told is not None
    assert told <= (lasts - since) * 1.1 + 1
    assert before or told == pytest.approx(lasts - since, rel=0.1, abs=1)
