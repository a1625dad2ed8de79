"""How long to wait before coming again: exponential with full jitter.

A thousand agents that lost the same hub at the same moment must not return at the same moment, so the wait is drawn
evenly from nothing up to a ceiling that doubles with each failure. A large fleet's hub says how wide the draw is to be
at the least (`spread`).
"""

from collections.abc import Callable
from dataclasses import dataclass

FIRST_CEILING = 1.0
LAST_CEILING = 60.0
#: From this attempt on the ceiling stays where it is (2 ** 6 > 60).
_LAST_DOUBLING = 6


def ceiling(failures: int) -> float:
    """Return the longest wait in seconds after so many failures in a row, 1 or more."""
    return min(LAST_CEILING, FIRST_CEILING * 2.0 ** min(failures - 1, _LAST_DOUBLING))


@dataclass
class Backoff:
    """Counts failures in a row; `draw` returns a number from 0 to 1, such as `random.random`."""

    draw: Callable[[], float]
    failures: int = 0
    #: The least ceiling in seconds.
    spread: float = 0.0

    def failed(self) -> float:
        """Count one failure and return the seconds to wait."""
        self.failures += 1
        return self.draw() * max(ceiling(self.failures), min(self.spread, LAST_CEILING))

    def reset(self) -> None:
        """Forget earlier failures."""
        self.failures = 0

    def held(self, seconds: float) -> None:
        """Forget earlier failures when a connection held longer than the longest wait.

        One that is accepted and dropped at once counts as a failure like any other.
        """
        if seconds >= LAST_CEILING:
            self.reset()
