"""How far the database's log has been received, as its own server says: any role may ask it."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.backups.segments import LOST, SLOT

_MIB = 1 << 20
#: Four of PostgreSQL's segments: each record is received within moments of its being written.
_MOST_BEHIND = 64 * _MIB

_RECEIVED = text(
    "SELECT active AS is_active, (pg_current_wal_lsn() - restart_lsn)::bigint AS behind,"
    " wal_status IS NOT DISTINCT FROM :lost AS is_lost FROM pg_replication_slots WHERE slot_name = :slot"
)


@dataclass(frozen=True, slots=True)
class LogReceived:
    """Whether somebody receives the log, and how many octets of it they lack."""

    is_active: bool
    #: None until somebody has begun to receive it, and when what they lack is kept no more.
    behind: int | None
    is_lost: bool = False


async def log_received(session: AsyncSession) -> LogReceived | None:
    """Return how the receiving stands; None where the log was never received."""
    row = (await session.execute(_RECEIVED, {"slot": SLOT, "lost": LOST})).one_or_none()
    return None if row is None else LogReceived(row.is_active, row.behind, row.is_lost)


def wrong_with_log(received: LogReceived | None) -> str:
    """Return why the log cannot be relied upon, nothing when it can. Pure.

    Where it was never received there is nothing to be wrong.
    """
    if received is None:
        return ""
    if received.is_lost:
        return (
            "the database dropped log that nobody had received: no moment from there to the next copy can be restored."
            " `backups` begins the log again and makes that copy: see that it runs, and what it says"
        )
    behind = (received.behind or 0) // _MIB
    if not received.is_active:
        return f"nobody receives the database's log, of which {behind} MiB wait: see that `backups` runs"
    if (received.behind or 0) > _MOST_BEHIND:
        return f"the database's log is received {behind} MiB behind"
    return ""
