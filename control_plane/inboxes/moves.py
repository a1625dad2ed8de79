"""Move a domain's inboxes to another server, with their mail: what is checked when that is asked for, and the run.

They go together, since the domain's MX names one host. The run belongs to the inbox that was asked for.

| `inbox_moves.state` | mail for it comes to | its owner and its sends use | goes on to |
| --- | --- | --- | --- |
| `copying` | the source | the source | `holding`, or `undone` when it cannot be done |
| `holding` | the source, which keeps it in its queue | nobody, for seconds | `arriving`, or back to `copying` |
| `arriving` | the source, which keeps it, until the target delivers | the target | `forwarding` |
| `forwarding` | the target; what still comes to the source is passed on | the target | `closing` |
| `closing` | the target; the source refuses it | the target | `done` |
"""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.inboxes.domains import server_of_domain
from control_plane.inboxes.load import load_inbox
from control_plane.inboxes.server_deeds import lock_for_move
from control_plane.pipelines.runs import open_run_kind, start_run
from control_plane.tenancy.scope import TenantScope
from db.models import Inbox, InboxMove

#: The kinds of run that move an inbox: there, and what is to be done afterwards where it was.
MOVE_RUN = "inbox.move"
LEAVE_RUN = "inbox.leave_server"

_MOVING = text("SELECT EXISTS (SELECT FROM inbox_moves WHERE tenant_id = :tenant AND inbox_id = :inbox"
               " AND finished_at IS NULL)")  # fmt: skip
_DOMAIN_MOVES = text(
    "SELECT EXISTS (SELECT FROM inbox_moves m JOIN inboxes i ON i.tenant_id = m.tenant_id AND i.id = m.inbox_id"
    " JOIN domains d ON d.tenant_id = i.tenant_id AND d.id = i.domain_id"
    " WHERE m.tenant_id = :tenant AND d.name = :domain AND m.finished_at IS NULL)"
)
_TOGETHER = text("SELECT id FROM inboxes WHERE tenant_id = :tenant AND domain_id = :domain ORDER BY id")
_TARGET = text(
    "SELECT status, banned_at, draining_since, removal_requested_at FROM vps_servers"
    " WHERE tenant_id = :tenant AND workspace_id = :workspace AND id = :vps"
)


async def request_move(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, target_id: uuid.UUID
) -> uuid.UUID:
    """Start `inbox.move` of all the domain's inboxes and return the run's id.

    Raises `NotFound`, and `Conflict` with what stands in the way.
    """
    asked_for = await load_inbox(session, scope, inbox_id)
    # Until the transaction ends, whoever places another inbox of the domain waits.
    await server_of_domain(session, scope, asked_for.email_address.rpartition("@")[2])
    key = {"tenant": scope.tenant_id, "domain": asked_for.domain_id}
    together = [
        await _check_inbox(session, scope, each, target_id) for each in (await session.scalars(_TOGETHER, key)).all()
    ]
    sources = {inbox.vps_id for inbox in together if inbox.vps_id is not None}
    await lock_for_move(session, scope.tenant_id, {target_id, *sources})
    await _check_target(session, scope, asked_for.workspace_id, target_id)
    request_id = uuid.uuid4()
    for inbox in together:
        session.add(
            InboxMove(
                id=uuid.uuid4(),
                tenant_id=scope.tenant_id,
                request_id=request_id,
                inbox_id=inbox.id,
                source_id=inbox.vps_id,
                target_id=target_id,
            )
        )
    await session.flush()
    return await start_run(session, scope.tenant_id, MOVE_RUN, inbox_id)


async def is_moving(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID) -> bool:
    """Return whether the inbox is on its way from one server to another."""
    return bool(await session.scalar(_MOVING, {"tenant": scope.tenant_id, "inbox": inbox_id}))


async def domain_is_moving(session: AsyncSession, scope: TenantScope, domain: str) -> bool:
    """Return whether the domain's inboxes are on their way, and its mail with them."""
    return bool(await session.scalar(_DOMAIN_MOVES, {"tenant": scope.tenant_id, "domain": domain}))


async def _check_inbox(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, target_id: uuid.UUID) -> Inbox:
    """Return the inbox, locked, if nothing keeps it from moving."""
    inbox = await load_inbox(session, scope, inbox_id, lock=True)
    named = f"The inbox {inbox.email_address}"
    if inbox.vps_id is None or inbox.status not in {"ready", "pending_dns"}:
        raise Conflict(f"{named} cannot be moved: its status is {inbox.status}.")
    if inbox.vps_id == target_id:
        raise Conflict(f"{named} is on that server already.")
    if await is_moving(session, scope, inbox_id):
        raise Conflict(f"{named} is being moved already.")
    if kind := await open_run_kind(session, scope.tenant_id, inbox_id):
        raise Conflict(f"Something else is being done to {inbox.email_address} ({kind}); move it when that is over.")
    return inbox


async def _check_target(
    session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, target_id: uuid.UUID
) -> None:
    """Look at the target, which is locked."""
    key = {"tenant": scope.tenant_id, "workspace": workspace_id, "vps": target_id}
    server = (await session.execute(_TARGET, key)).one_or_none()
    if server is None:
        raise Conflict("There is no such server in the inbox's workspace.")
    if server.status != "ready" or server.banned_at is not None:
        raise Conflict(f"The server can take no inbox: its status is {server.status}.")
    if server.draining_since is not None or server.removal_requested_at is not None:
        raise Conflict("The server can take no inbox: it is being drained.")
