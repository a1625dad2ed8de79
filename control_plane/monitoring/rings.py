"""Where in its ring of partitions a moment lies, and which slot is to be empty. Pure.

The rings are those of 0018_monitoring.sql.

A slot is emptied before its time comes, so a ring holds one slot less than its length, and the one that is being filled
only in part.
"""

import datetime as dt
import enum


class Ring(enum.Enum):
    """A table, the number of its slots, and what a slot is a piece of."""

    REPORTS = ("health_reports", 3, "hour")
    SAMPLES = ("health_samples", 32, "day")
    HOURS = ("health_hours", 26, "month")

    def __init__(self, table: str, length: int, piece: str) -> None:
        self.table = table
        self.length = length
        self.piece = piece

    def slot(self, at: dt.datetime) -> int:
        """Return the slot of a moment, which is aware."""
        return self._count(at) % self.length

    def slots(self, start: dt.datetime, end: dt.datetime) -> list[int]:
        """Return the slots of all moments from the first to the second, which is not before it."""
        first, last = self._count(start), self._count(end)
        return sorted({count % self.length for count in range(first, last + 1)})

    def next_slot(self, at: dt.datetime) -> int:
        """Return the slot after that of a moment: what is in it is out of time."""
        return (self._count(at) + 1) % self.length

    def partition(self, slot: int) -> str:
        """Return the name of a slot's partition."""
        return f"{self.table}_slot_{slot:02d}"

    def _count(self, at: dt.datetime) -> int:
        utc = at.astimezone(dt.UTC)
        match self.piece:
            case "hour":
                return int(utc.timestamp()) // 3600
            case "day":
                return int(utc.timestamp()) // 86_400
            case _:
                return (utc.year - 1970) * 12 + utc.month - 1
