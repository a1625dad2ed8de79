"""When a log line was written."""

import functools
import time
from datetime import datetime

#: A line younger than this, in milliseconds, is taken to be written now: the traditional stamp has whole seconds.
_FRESH_MS = 2000
_DAY_MS = 24 * 3600 * 1000


def logged_ms(stamp: str, now_ms: int) -> int:
    """Return when a line was logged, in milliseconds since the Unix epoch, never later than `now_ms`.

    `stamp` is the traditional syslog one ("Nov 21 20:42:05", local time and no year) or RFC 3339's.

    Raises:
        ValueError: it is neither.

    """
    year = time.localtime(now_ms / 1000).tm_year
    at_ms = _read_stamp(stamp, year)
    if at_ms > now_ms + _DAY_MS and stamp[0].isalpha():
        at_ms = _read_stamp(stamp, year - 1)
    return now_ms if at_ms > now_ms - _FRESH_MS else at_ms


@functools.lru_cache(maxsize=16)
def _read_stamp(stamp: str, year: int) -> int:
    if stamp[:1].isdigit():
        return int(datetime.fromisoformat(stamp).astimezone().timestamp() * 1000)
    return int(time.mktime(time.strptime(f"{year} {stamp}", "%Y %b %d %H:%M:%S")) * 1000)
