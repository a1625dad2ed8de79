"""The server's clock in the unit of the wire contract, as an argument."""

import time
from collections.abc import Callable

#: Milliseconds since the Unix epoch, UTC.
NowMs = Callable[[], int]


def wall_ms() -> int:
    """Return the present moment by the server's clock."""
    return time.time_ns() // 1_000_000
