"""What may not be done to a server at one time: inboxes move there or away, or it is rebuilt.

Who asks for one locks the server's row first, and looks for the other in a statement of its own, which sees all that
was committed before the lock was had (READ COMMITTED). So of two that are asked for at once the second sees the first.
"""

import uuid
from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.pipelines.runs import open_run_kind

#: The kind of run that makes a server's system anew, and keeps its mail.
REBUILD_KIND = "vps.rebuild"

# In one order, so that two who lock the same ones wait for each other and no more.
_LOCK = text(
    "SELECT id, hostname FROM vps_servers WHERE tenant_id = :tenant AND id = ANY(:servers) ORDER BY id FOR KEY SHARE"
)
_MOVING_DOMAIN = text(
    "SELECT d.name FROM inbox_moves m JOIN inboxes i ON i.tenant_id = m.tenant_id AND i.id = m.inbox_id"
    " JOIN domains d ON d.tenant_id = i.tenant_id AND d.id = i.domain_id"
    " WHERE m.tenant_id = :tenant AND m.finished_at IS NULL AND :vps IN (m.source_id, m.target_id)"
    " ORDER BY d.name LIMIT 1"
)


async def moving_domain(session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> str | None:
    """Return a domain whose inboxes move to the server or away from it; the caller holds a lock on its row.

    They do until the old server has forgotten them, for it passes their mail on meanwhile.
    """
    found: str | None = await session.scalar(_MOVING_DOMAIN, {"tenant": tenant_id, "vps": vps_id})
    return found


async def is_rebuilt(session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> bool:
    """Return whether a rebuild of the server is not over; the caller holds a lock on its row."""
    return await open_run_kind(session, tenant_id, vps_id, REBUILD_KIND) is not None


async def lock_for_move(session: AsyncSession, tenant_id: uuid.UUID, servers: Collection[uuid.UUID]) -> None:
    """Keep the servers from being rebuilt or removed until the transaction ends.

    Raises `Conflict` for one that is being rebuilt.
    """
    locked = (await session.execute(_LOCK, {"tenant": tenant_id, "servers": list(servers)})).all()
    for server in locked:
        if await is_rebuilt(session, tenant_id, server.id):
            raise Conflict(f"The server {server.hostname} is being rebuilt; move the inboxes when that is over.")
