"""A wall clock that the harness can set, for the agent alone: the kernel has one clock for all of a machine's servers.

Python on the server imports it at start through a `.pth` file. `/run/faults-clock` holds seconds to add; no file, none.
Postfix and the programs in C see the true time, as if the clock had been set back again by the time they looked.
"""

import contextlib
import time
from pathlib import Path

_OFFSET = Path("/run/faults-clock")
_time, _time_ns = time.time, time.time_ns


def _offset() -> float:
    with contextlib.suppress(OSError, ValueError):
        return float(_OFFSET.read_text(encoding="ascii"))
    return 0.0


time.time = lambda: _time() + _offset()
time.time_ns = lambda: _time_ns() + int(_offset() * 1e9)
