"""Time as an argument: whoever decides by time takes a `Clock`, so that a test can hold it still."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


def boot_seconds() -> float:
    """Return seconds since this machine started, its sleep included: for deadlines that a paused process must miss."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
