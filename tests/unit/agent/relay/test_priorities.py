from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agent.relay.priorities import HIGH, LOW, NORMAL, next_priority

counts = st.lists(st.integers(0, 5), min_size=3, max_size=3)


def test_high_overtakes_and_low_gets_a_tenth() -> None:
    shares = Counter(next_priority(turn, [1, 1, 1]) for turn in range(1000))
    assert shares == {HIGH: 700, NORMAL: 200, LOW: 100}


def test_without_high_normal_goes_first() -> None:
    shares = Counter(next_priority(turn, [0, 1, 1]) for turn in range(1000))
    assert shares == {NORMAL: 900, LOW: 100}


@given(st.integers(0, 10_000), counts)
def test_only_what_waits_goes_and_nothing_waits_in_vain(turn: int, waiting: list[int]) -> None:
    chosen = next_priority(turn, waiting)
    if chosen is None:
        assert not any(waiting)
    else:
        assert waiting[chosen]


@given(st.integers(0, 10_000), counts)
def test_whoever_waits_goes_within_ten_turns(turn: int, waiting: list[int]) -> None:
    chosen = {next_priority(turn + step, waiting) for step in range(10)}
    assert {priority for priority in (HIGH, NORMAL, LOW) if waiting[priority]} <= chosen
