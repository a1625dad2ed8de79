"""Whether an agent's memory leaks: pure, from what it takes and from its means of whole hours.

A plan's gate sees a leak that is there while the plan lasts (control_plane/upgrades/process_gate.py); this one sees the
slow one, or the one that begins later.
"""

import itertools
from collections.abc import Sequence

_MIB = 1 << 20
#: More is too much, wherever it comes from. A healthy agent has less than 60 MiB.
MOST = 128 * _MIB
#: Hours in a row in each of which it must have grown. One that starts, or has more to do, grows for an hour or two.
HOURS = 6
#: What it grows by in each hour, and in all of them.
_EACH_HOUR, _ALL_HOURS = 0.5 * _MIB, 6 * _MIB


def leak(rss_bytes: float, hours: Sequence[float]) -> str:
    """Return the end of a sentence about an agent that takes too much, or grows without a stop, else an empty one.

    `hours` are its means of whole hours that follow each other, oldest first.
    """
    if rss_bytes > MOST:
        return f"which is more than {MOST / _MIB:.0f}"
    steps = [after - before for before, after in itertools.pairwise(hours[-HOURS - 1 :])]
    if len(steps) == HOURS and min(steps) >= _EACH_HOUR and sum(steps) >= _ALL_HOURS:
        return f"and grew by {sum(steps) / _MIB:.0f} in {HOURS} hours without a stop"
    return ""
