from hypothesis import given
from hypothesis import strategies as st

from agent.journal.pace import BURST, BURST_AGE, LOAD, Pace


def _begin(pace: Pace, now: float, operations: int) -> float:
    """Begin a commit that could begin now, and return when it does."""
    now += pace.next_after(now)
    pace.held(operations, now)
    return now


def test_under_load_a_burst_waits_for_nothing_and_what_follows_it_does() -> None:
    pace = Pace()
    assert [_begin(pace, 0.0, LOAD) for _ in range(BURST)] == [0.0] * BURST
    assert pace.next_after(0.01) == BURST_AGE - 0.01


@given(st.lists(st.floats(0, 0.02), min_size=BURST + 1, max_size=60))
def test_under_load_no_more_commits_begin_in_any_while_than_a_burst(pauses: list[float]) -> None:
    pace, now, begun = Pace(), 0.0, []
    for pause in pauses:
        now = _begin(pace, now + pause, LOAD)
        begun.append(now)
    assert all(late - early >= BURST_AGE - 1e-9 for early, late in zip(begun, begun[BURST:], strict=False))


def test_single_sends_one_after_the_other_never_wait() -> None:
    pace, commits_of_a_send, seconds_between_sends = Pace(), 8, 0.05
    could_begin = [send * seconds_between_sends for send in range(50) for _ in range(commits_of_a_send)]
    assert [_begin(pace, now, operations=1) for now in could_begin] == could_begin


def test_load_that_has_passed_holds_nothing_back() -> None:
    pace = Pace()
    for _ in range(2 * BURST):
        _begin(pace, 0.0, LOAD)
    assert pace.next_after(10.0) == 0.0
