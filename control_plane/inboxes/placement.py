"""On which of a workspace's servers a new inbox goes."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.tenancy.scope import TenantScope

# Two inboxes that come at once to a workspace without a server must not each ask for one.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('placement:' || CAST(:workspace_id AS text), 0))")

# The lock on the row keeps the server from being removed before the inbox is there.
_NEWEST = text("""
SELECT id FROM vps_servers
WHERE tenant_id = :tenant_id AND workspace_id = :workspace_id
    AND status IN ('provisioning', 'ready') AND banned_at IS NULL AND draining_since IS NULL
    AND (CAST(:provider AS text) IS NULL OR provider = :provider) AND (CAST(:size AS text) IS NULL OR size = :size)
ORDER BY created_at DESC LIMIT 1
FOR KEY SHARE
""")
_NAMED = text("""
SELECT status, banned_at, draining_since FROM vps_servers
WHERE tenant_id = :tenant_id AND workspace_id = :workspace_id AND id = :vps_id
FOR KEY SHARE
""")


@dataclass(frozen=True, slots=True)
class ServerWish:
    """What the server should be; None leaves it open."""

    provider: str | None
    size: str | None


async def newest_server(
    session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, wish: ServerWish
) -> uuid.UUID | None:
    """Return the workspace's newest server that fits and is not failed, drained or being removed, if there is one.

    Until the transaction ends, whoever else places an inbox in this workspace waits.
    """
    await session.execute(_ONE_AT_A_TIME, {"workspace_id": workspace_id})
    found: uuid.UUID | None = await session.scalar(
        _NEWEST,
        {
            "tenant_id": scope.tenant_id,
            "workspace_id": workspace_id,
            "provider": wish.provider,
            "size": wish.size,
        },
    )
    return found


async def require_server(session: AsyncSession, scope: TenantScope, workspace_id: uuid.UUID, vps_id: uuid.UUID) -> None:
    """Raise `NotFound` unless the server is the workspace's, and `Conflict` when it can take no inbox."""
    key = {"tenant_id": scope.tenant_id, "workspace_id": workspace_id, "vps_id": vps_id}
    server = (await session.execute(_NAMED, key)).one_or_none()
    if server is None:
        raise NotFound("There is no such server in this workspace.")
    if server.status not in {"provisioning", "ready"} or server.banned_at is not None:
        raise Conflict(f"The server can take no inbox: its status is {server.status}.")
    if server.draining_since is not None:
        raise Conflict("The server can take no inbox: it is being drained.")
