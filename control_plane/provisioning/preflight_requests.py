"""Have a server looked at again, at once: rows in the caller's transaction; the worker does the rest."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.pipelines.runs import look_again, start_run

_SERVER = text("SELECT status, ip_address FROM vps_servers WHERE tenant_id = :tenant AND id = :id")
_OPEN_RUN = text(
    "SELECT id FROM pipeline_runs WHERE tenant_id = :tenant AND subject_id = :id"
    " AND kind IN ('vps.provision', 'vps.preflight') AND state IN ('waiting', 'running', 'needs_person')"
    " ORDER BY created_at LIMIT 1"
)


async def request_preflight(session: AsyncSession, *, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> uuid.UUID:
    """Return the run that will look: the one that makes the server while it is being made, or one for this alone.

    Raises `NotFound` for a server that is not the tenant's, and `Conflict` for one without an address or that goes.
    """
    key = {"tenant": tenant_id, "id": vps_id}
    server = (await session.execute(_SERVER, key)).one_or_none()
    if server is None:
        raise NotFound("There is no such server.")
    if server.ip_address is None or server.status in {"deleting", "deleted"}:
        raise Conflict(f"The server is {server.status} and has nothing to look at.")
    run_id: uuid.UUID | None = await session.scalar(_OPEN_RUN, key)
    if run_id is None:
        return await start_run(session, tenant_id, "vps.preflight", vps_id)
    await look_again(session, tenant_id, run_id)
    return run_id
