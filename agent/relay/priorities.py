"""Which priority goes next: high overtakes, and no other is starved. Pure."""

from collections.abc import Sequence

HIGH, NORMAL, LOW = range(3)
PRIORITIES = (HIGH, NORMAL, LOW)
#: Stream names by priority, as in the queue's key scheme.
STREAMS = ("high", "normal", "low")

#: Who is asked first in each turn of a round, while all three wait: low gets a tenth, normal two, high the rest.
_ROUND = (HIGH, HIGH, HIGH, NORMAL, HIGH, HIGH, HIGH, NORMAL, HIGH, LOW)


def next_priority(turn: int, waiting: Sequence[int]) -> int | None:
    """Return whose send goes in this turn, given how many of each priority wait; None when none does.

    A turn whose own priority has nothing waiting goes to the highest that has.
    """
    first = _ROUND[turn % len(_ROUND)]
    if waiting[first]:
        return first
    return next((priority for priority in PRIORITIES if waiting[priority]), None)
