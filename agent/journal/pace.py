"""How fast commits may follow each other. Pure."""

from collections import deque
from itertools import repeat

#: So many commits may follow each other at once; beyond that each waits until the one so many before it is so old, in
#: seconds. Under load a commit then holds more, which costs less of disk and processor.
BURST = 16
BURST_AGE = 0.08
#: So many operations in that time are load; with fewer nothing waits. A single send takes about seven, one after the
#: other, and two of them before Postfix has it.
LOAD = 40


class Pace:
    """The moments of the last commits, and of the last operations that they held."""

    def __init__(self) -> None:
        self._begun: deque[float] = deque(maxlen=BURST)
        self._held: deque[float] = deque(maxlen=LOAD)

    def next_after(self, now: float) -> float:
        """Take note of a commit that is to begin, and return the seconds that it must wait first."""
        wait = self._begun[0] + BURST_AGE - now if len(self._begun) == BURST and self._is_loaded(now) else 0.0
        wait = max(0.0, wait)
        self._begun.append(now + wait)
        return wait

    def held(self, operations: int, now: float) -> None:
        """Take note of how many operations the commit that now begins holds."""
        self._held.extend(repeat(now, operations))

    def _is_loaded(self, now: float) -> bool:
        return len(self._held) == LOAD and now - self._held[0] < BURST_AGE
