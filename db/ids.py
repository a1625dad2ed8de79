"""Row ids that sort by time: UUID version 7 (RFC 9562, section 5.7)."""

import datetime as dt
import os
import time
import uuid

_RANDOM_BITS = 74
_VERSION_AND_VARIANT = (7 << 76) | (0b10 << 62)


def uuid7() -> uuid.UUID:
    """Return a new id: 48 bits of milliseconds since the Unix epoch, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big") >> (80 - _RANDOM_BITS)
    high, low = random >> 62, random & ((1 << 62) - 1)
    return uuid.UUID(int=(milliseconds << 80) | (high << 64) | low | _VERSION_AND_VARIANT)


def first_uuid7_of(moment: dt.datetime) -> uuid.UUID:
    """Return the least id of the millisecond that begins at the moment or last did; ids made later are not less."""
    milliseconds = min(max(int(moment.timestamp() * 1000), 0), (1 << 48) - 1)
    return uuid.UUID(int=(milliseconds << 80) | _VERSION_AND_VARIANT)
