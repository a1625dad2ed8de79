from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.due import LEAST_GAP, READY_AFTER, Due


def reports(due: Due, moments: list[int], changes: set[int], interval: float) -> list[int]:
    made = []
    for now in moments:
        if now in changes:
            due.changed(now)
        if due.is_due(now):
            due.reported(now, interval)
            made.append(now)
    return made


def test_reports_come_at_their_interval() -> None:
    assert reports(Due(), list(range(40)), set(), 15) == [0, 15, 30]


def test_a_change_is_told_at_once_and_again_when_things_are_ready() -> None:
    assert reports(Due(), list(range(30)), {5}, 15) == [0, 5, 5 + int(READY_AFTER), 23]


@given(st.sets(st.integers(0, 60)), st.integers(2, 20))
def test_every_change_is_told_soon_and_again_when_things_are_ready(changes: set[int], interval: int) -> None:
    made = reports(Due(), list(range(80)), changes, interval)
    assert all(any(change <= each <= change + LEAST_GAP for each in made) for change in changes)
    assert all(any(each >= change + READY_AFTER for each in made) for change in changes)
    assert all(late - early >= LEAST_GAP for early, late in pairwise(made))
