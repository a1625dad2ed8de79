"""How fast commits may follow each other. Pure."""

from collections import deque

#: So many commits may follow each other at once; beyond that each waits until the one so many before it is so old, in
#: seconds. Under load a commit then holds more, which costs less of disk and processor; at rest nothing waits.
BURST = 16
BURST_AGE = 0.16


class Pace:
    """The moments of the last commits."""

    def __init__(self) -> None:
        self._begun: deque[float] = deque(maxlen=BURST)

    def next_after(self, now: float) -> float:
        """Take note of a commit that is to begin, and return the seconds that it must wait first."""
        wait = self._begun[0] + BURST_AGE - now if len(self._begun) == BURST else 0.0
        wait = max(0.0, wait)
        self._begun.append(now + wait)
        return wait
