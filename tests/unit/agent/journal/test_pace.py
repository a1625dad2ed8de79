from hypothesis import given
from hypothesis import strategies as st

from agent.journal.pace import BURST, BURST_AGE, Pace


def test_a_burst_waits_for_nothing_and_what_follows_it_does() -> None:
    pace = Pace()
    assert [pace.next_after(0.0) for _ in range(BURST)] == [0.0] * BURST
    assert pace.next_after(0.01) == BURST_AGE - 0.01


@given(st.lists(st.floats(0, 0.02), min_size=BURST + 1, max_size=60))
def test_no_more_commits_begin_in_any_while_than_a_burst(pauses: list[float]) -> None:
    pace, now, begun = Pace(), 0.0, []
    for pause in pauses:
        now += pause
        now += pace.next_after(now)
        begun.append(now)
    assert all(late - early >= BURST_AGE - 1e-9 for early, late in zip(begun, begun[BURST:], strict=False))
