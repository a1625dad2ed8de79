"""What a restored database must do before anything is sent: nothing lost, nothing repeated.

Where the whole log was there, it is the database that was lost, and goes on. Where it may have forgotten something,
every send that was not over is held (pauses of all priorities) and made such that its server is asked rather than told:
see ask_again.sql. That is sound for servers whose journal outlived the forgotten time. A server that was rebuilt in it,
or that an inbox was moved away from, cannot be asked; only an operator knows of those, so it is they who let go.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from importlib import resources

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

#: Added to the number of a send's leases: more than any time between a backup and a restore can give.
BEYOND = 1_000_000
_HELD = "restored to "

_ASK_AGAIN = resources.files("control_plane.backups").joinpath("ask_again.sql").read_bytes()
_HOLD = (
    "INSERT INTO pauses (tenant_id, priority, reason, by_operator)"
    " SELECT NULL, priority, %s, true FROM generate_series(0, 2) AS of (priority)"
)
# One of each can be in force: an operator's own gives way, and what it says is kept.
_MAKE_ROOM = (
    "UPDATE pauses SET resumed_at = now() WHERE resumed_at IS NULL AND by_operator AND tenant_id IS NULL"
    " AND priority IS NOT NULL RETURNING reason"
)
_END = text("""
WITH ended AS (
    UPDATE messages m
    SET state = 'uncertain', final_at = now(),
        state_reason = 'the database was restored, and its server cannot tell what it did with it'
    WHERE m.vps_id = ANY(CAST(:servers AS uuid[])) AND m.state IN ('accepted', 'dead', 'failed') AND m.leases >= :beyond
    RETURNING m.tenant_id, m.id, m.isolated, m.state_reason
), told AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
    SELECT tenant_id, id, isolated, gen_random_uuid(), 'uncertain', now(), true,
           jsonb_build_object('detail', state_reason)
    FROM ended
)
SELECT count(*) FROM ended
""")
_LET_GO = text(
    "UPDATE pauses SET resumed_at = now() WHERE resumed_at IS NULL AND by_operator AND tenant_id IS NULL"
    " AND starts_with(reason, :held) RETURNING id"
)
_WAKE = text("SELECT pg_notify('sends_ready', '')")


def hold_and_ask(owner_url: str, moment: dt.datetime) -> int:
    """Hold everything and prepare to ask servers about what was not over; return how many sends that are.

    `moment` is the last that the database knows of. In one transaction, by the owner, before any process runs.
    """
    with psycopg.connect(owner_url) as connection:
        # The standby that commits may have waited for is not there yet.
        connection.execute("SET synchronous_commit = local")
        row = connection.execute(_ASK_AGAIN, {"beyond": BEYOND, "moment": moment}).fetchone()
        before = [reason for (reason,) in connection.execute(_MAKE_ROOM) if reason]
        reason = "; before: ".join([f"{_HELD}{moment.isoformat(timespec='seconds')}", *sorted(set(before))])
        connection.execute(_HOLD, [reason])
    return int(row[0]) if row else 0


async def release(session: AsyncSession, forgetful: Sequence[uuid.UUID]) -> tuple[bool, int]:
    """Let go of what a restore held; what waits for the servers in `forgetful` ends as uncertain instead.

    Returns whether anything was held and how many sends ended so.
    """
    held = (await session.scalars(_LET_GO, {"held": _HELD})).all()
    if not held:
        return False, 0
    ended = await session.scalar(_END, {"servers": list(forgetful), "beyond": BEYOND})
    await session.execute(_WAKE)
    return True, int(ended or 0)
