"""Empty a server: it gets no new inboxes and no sends, while what it has goes out.

The server stays `ready` and linked, for it has still to hand over what is in its streams and in Postfix. What holds its
sends back is a pause of the platform's own (`pauses`), which follows `draining_since`: an operator's pause that was
there before stays when the draining ends.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.fleet.servers import server_health
from control_plane.inboxes.server_deeds import is_rebuilt
from control_plane.pipelines.runs import start_run
from protos.agent.v1.commands_pb2 import Command, FlushQueue

HOLD_KIND = "vps.hold"
_REASON = "The server is being drained."

_LOCK = text(
    "SELECT status, draining_since, removal_requested_at FROM vps_servers"
    " WHERE tenant_id = :tenant AND id = :id FOR UPDATE"
)
_DRAIN = text("UPDATE vps_servers SET draining_since = now() WHERE tenant_id = :tenant AND id = :id")
_UNDRAIN = text("UPDATE vps_servers SET draining_since = NULL WHERE tenant_id = :tenant AND id = :id")
# The lock makes two of these come one after the other, whichever way the server was switched last.
_WANTED = text("SELECT tenant_id, draining_since IS NOT NULL AS held FROM vps_servers WHERE id = :id FOR NO KEY UPDATE")
_HOLD = text(
    "INSERT INTO pauses (tenant_id, vps_id, reason, by_operator) VALUES (:tenant, :id, :reason, true)"
    " ON CONFLICT DO NOTHING RETURNING id"
)
_LET_GO = text(
    "UPDATE pauses SET resumed_at = now()"
    " WHERE resumed_at IS NULL AND by_operator AND vps_id = :id AND reason = :reason"
)
_WAKE = text("SELECT pg_notify('sends_ready', '')")
_SENDS = text(
    "SELECT count(*) FILTER (WHERE state = 'accepted') AS waiting, count(*) FILTER (WHERE state = 'queued') AS queued,"
    " count(*) FILTER (WHERE state = 'relayed') AS relayed"
    " FROM messages WHERE vps_id = :id AND state IN ('accepted', 'queued', 'relayed')"
)
_SERVER = text(
    "SELECT applied_version = desired_version AS is_applied, applied_at, now() - removal_requested_at AS waited,"
    " removal_forced FROM vps_servers WHERE id = :id"
)


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """What a server still has.

    `waiting` sends are in PostgreSQL alone, `queued` are leased to it, `relayed` are in its Postfix as far as is known.
    `postfix_queue` counts all of Postfix's messages, others' than ours too, and `oldest_seconds` is the age of the
    oldest; None when the server did not say.
    """

    waiting: int
    queued: int
    relayed: int
    postfix_queue: int | None
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class Emptiness:
    """Whether a server that is to be removed is empty: `left` says in words what it still has, and is empty then.

    `waited` is how long the removal has been asked for.
    """

    left: tuple[str, ...]
    waited: timedelta
    is_forced: bool


async def request_drain(session: AsyncSession, *, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> None:
    """Begin to empty the server; nothing happens when that was asked for before.

    Raises `NotFound`, and `Conflict` for a server that is not ready, or is being rebuilt: that empties it, and uses it
    again.
    """
    key = {"tenant": tenant_id, "id": vps_id}
    server = (await session.execute(_LOCK, key)).one_or_none()
    if server is None:
        raise NotFound("There is no such server.")
    if server.status != "ready":
        raise Conflict(f"A server that is {server.status} cannot be drained.")
    if await is_rebuilt(session, tenant_id, vps_id):
        raise Conflict("The server is being rebuilt; drain it after that.")
    if server.draining_since is None:
        await session.execute(_DRAIN, key)
        await start_run(session, tenant_id, HOLD_KIND, vps_id)


async def request_undrain(session: AsyncSession, *, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> None:
    """Use the server again; nothing happens when it is not being drained.

    Raises `NotFound`, and `Conflict` when it is drained because it is to be removed or rebuilt.
    """
    key = {"tenant": tenant_id, "id": vps_id}
    server = (await session.execute(_LOCK, key)).one_or_none()
    if server is None:
        raise NotFound("There is no such server.")
    if server.removal_requested_at is not None:
        raise Conflict("The server is being removed.")
    if await is_rebuilt(session, tenant_id, vps_id):
        raise Conflict("The server is being rebuilt; it is used again after that.")
    if server.draining_since is not None:
        await session.execute(_UNDRAIN, key)
        await start_run(session, tenant_id, HOLD_KIND, vps_id)


async def hold_as_wanted(session: AsyncSession, vps_id: uuid.UUID) -> bool:
    """Pause the server's sends when it is being drained, and resume them when not; return whether they are held.

    System role. When they begin to be held, Postfix is told to try at once what it has deferred.
    """
    server = (await session.execute(_WANTED, {"id": vps_id})).one()
    row = {"id": vps_id, "reason": _REASON}
    if not server.held:
        await session.execute(_LET_GO, row)
        await session.execute(_WAKE)
    elif await session.scalar(_HOLD, {**row, "tenant": server.tenant_id}) is not None:
        await request_command(
            session, CommandOrder(server.tenant_id, vps_id, Command(flush_queue=FlushQueue()), "drain")
        )
    return bool(server.held)


async def drain_progress(session: AsyncSession, vps_id: uuid.UUID) -> DrainProgress:
    """Return what the server still has, by our rows and by its last report."""
    sends = (await session.execute(_SENDS, {"id": vps_id})).one()
    health = await server_health(session, vps_id)
    queue = health.postfix_queue if health else None
    oldest = health.report.postfix_queue.oldest_seconds if health and health.report and queue is not None else None
    return DrainProgress(sends.waiting, sends.queued, sends.relayed, queue, oldest)


async def emptiness(session: AsyncSession, vps_id: uuid.UUID) -> Emptiness:
    """Say whether a server without inboxes, whose removal was asked for, has anything left.

    Once a configuration without mailboxes is applied, nothing new can come into Postfix. So a report made after that
    which shows an empty queue is final, however long ago it came. A server that never reported never carried mail.
    """
    server = (await session.execute(_SERVER, {"id": vps_id})).one()
    progress = await drain_progress(session, vps_id)
    health = await server_health(session, vps_id)
    left = [
        f"{count} sends {where}"
        for count, where in ((progress.queued, "leased to it"), (progress.relayed, "in its Postfix"))
        if count
    ]
    if health is not None and health.received_at is not None:
        if not server.is_applied or server.applied_at is None or health.received_at <= server.applied_at:
            left.append("no word of its queue since its last mailbox was taken away")
        elif progress.postfix_queue != 0:
            count = "an unknown number of" if progress.postfix_queue is None else progress.postfix_queue
            left.append(f"{count} messages in Postfix's queue")
    return Emptiness(tuple(left), server.waited or timedelta(0), server.removal_forced)
