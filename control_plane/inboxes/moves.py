"""Move an inbox to another server, with its mail: what is checked when that is asked for, and the run that does it.

| `inbox_moves.state` | mail for it comes to | its owner and its sends use | goes on to |
| --- | --- | --- | --- |
| `copying` | the source | the source | `holding`, or `undone` when it cannot be done |
| `holding` | the source, which keeps it in its queue | nobody, for seconds | `forwarding`, or back to `copying` |
| `forwarding` | the target; what still comes to the source is passed on | the target | `closing` |
| `closing` | the target; the source refuses it | the target | `done` |
"""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.inboxes.domains import server_of_domain
from control_plane.inboxes.load import load_inbox
from control_plane.pipelines.runs import start_run
from control_plane.tenancy.scope import TenantScope
from db.models import InboxMove

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
_OPEN_RUN = text(
    "SELECT kind FROM pipeline_runs WHERE tenant_id = :tenant AND subject_id = :inbox"
    " AND state IN ('waiting', 'running', 'needs_person', 'undoing') LIMIT 1"
)
_OTHERS = text("SELECT count(*) FROM inboxes WHERE tenant_id = :tenant AND domain_id = :domain AND id <> :inbox")
# The lock keeps the server from being removed before the move is there.
_TARGET = text(
    "SELECT status, banned_at, draining_since, removal_requested_at FROM vps_servers"
    " WHERE tenant_id = :tenant AND workspace_id = :workspace AND id = :vps FOR KEY SHARE"
)


async def request_move(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, target_id: uuid.UUID
) -> uuid.UUID:
    """Start `inbox.move` and return the run's id; raise `NotFound`, and `Conflict` with what stands in the way."""
    inbox = await load_inbox(session, scope, inbox_id, lock=True)
    if inbox.vps_id is None or inbox.status not in {"ready", "pending_dns"}:
        raise Conflict(f"The inbox cannot be moved: its status is {inbox.status}.")
    if inbox.vps_id == target_id:
        raise Conflict("The inbox is on that server already.")
    key = {"tenant": scope.tenant_id, "inbox": inbox_id}
    if await is_moving(session, scope, inbox_id):
        raise Conflict("The inbox is being moved already.")
    if kind := await session.scalar(_OPEN_RUN, key):
        raise Conflict(f"Something else is being done to the inbox ({kind}); move it when that is over.")
    await _check_domain(session, scope, inbox_id, inbox.domain_id, inbox.email_address.rpartition("@")[2])
    await _check_target(session, scope, inbox.workspace_id, target_id)
    session.add(
        InboxMove(
            id=uuid.uuid4(),
            tenant_id=scope.tenant_id,
            inbox_id=inbox_id,
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
    """Return whether the domain's inbox is on its way, and its mail with it."""
    return bool(await session.scalar(_DOMAIN_MOVES, {"tenant": scope.tenant_id, "domain": domain}))


async def _check_domain(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, domain_id: uuid.UUID, domain: str
) -> None:
    """All inboxes of a domain share one server, for its MX names one host."""
    # Until the transaction ends, whoever places another inbox of the domain waits.
    await server_of_domain(session, scope, domain)
    others = await session.scalar(_OTHERS, {"tenant": scope.tenant_id, "domain": domain_id, "inbox": inbox_id})
    if others:
        raise Conflict(f"{domain} has {others} more inboxes, and all of a domain's mail goes to one server.")


async def _check_target(
    session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, target_id: uuid.UUID
) -> None:
    key = {"tenant": scope.tenant_id, "workspace": workspace_id, "vps": target_id}
    server = (await session.execute(_TARGET, key)).one_or_none()
    if server is None:
        raise Conflict("There is no such server in the inbox's workspace.")
    if server.status != "ready" or server.banned_at is not None:
        raise Conflict(f"The server can take no inbox: its status is {server.status}.")
    if server.draining_since is not None or server.removal_requested_at is not None:
        raise Conflict("The server can take no inbox: it is being drained.")
