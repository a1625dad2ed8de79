"""The server's clock, as an argument, and how far it is from the hub's."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


def skew_seconds(asked_at: datetime, answered_at: datetime, hub_time_ms: int) -> float:
    """Return how many seconds the hub's clock is ahead of ours.

    The hub's reading is taken to be from the middle of the round trip, so the error is at most half of it.
    """
    middle = asked_at + (answered_at - asked_at) / 2
    return hub_time_ms / 1000 - middle.timestamp()
