"""How far the database's log has been received, as its own server says: any role may ask it."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.backups.segments import SLOT

_MIB = 1 << 20
#: Four of PostgreSQL's segments: each record is received within moments of its being written.
_MOST_BEHIND = 64 * _MIB

_RECEIVED = text(
    "SELECT active AS is_active, (pg_current_wal_lsn() - restart_lsn)::bigint AS behind FROM pg_replication_slots"
    " WHERE slot_name = :slot"
)


@dataclass(frozen=True, slots=True)
class LogReceived:
    """Whether somebody receives the log, and how many octets of it they lack; None when these are kept no more."""

    is_active: bool
    behind: int | None


async def log_received(session: AsyncSession) -> LogReceived | None:
    """Return how the receiving stands; None where the log was never received."""
    row = (await session.execute(_RECEIVED, {"slot": SLOT})).one_or_none()
    return None if row is None else LogReceived(row.is_active, row.behind)


def wrong_with_log(received: LogReceived | None) -> str:
    """Return why the log cannot be relied upon, nothing when it can. Pure.

    Where it was never received there is nothing to be wrong.
    """
    if received is None:
        return ""
    if received.behind is None:
        return "the database no longer keeps the log that was not received: the next copy is where it begins again"
    if not received.is_active:
        return f"nobody receives the database's log, of which {received.behind // _MIB} MiB wait: does `backups` run?"
    if received.behind > _MOST_BEHIND:
        return f"the database's log is received {received.behind // _MIB} MiB behind"
    return ""
