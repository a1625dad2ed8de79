"""How long to wait before trying again what Redis or Postfix, both near by, did not do."""

import random

_FIRST = 0.05
_LAST = 5.0


def delay_after(failures: int) -> float:
    """Return seconds after so many failures in a row: twice as many each time up to a limit, give or take a quarter."""
    seconds = min(_LAST, _FIRST * 2.0 ** min(failures - 1, 10))
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing
