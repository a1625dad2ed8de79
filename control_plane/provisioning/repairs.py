"""Ask for an inbox's DNS records to be put right: one run at a time for each inbox, however often it is asked for."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.inboxes.load import load_inbox
from control_plane.pipelines.runs import start_run
from control_plane.tenancy.scope import TenantScope

REPAIR_KIND = "inbox.repair_dns"

_OPEN = text(
    "SELECT id FROM pipeline_runs WHERE tenant_id = :tenant AND subject_id = :inbox AND kind = :kind"
    " AND state IN ('waiting', 'running', 'needs_person', 'undoing') LIMIT 1"
)


async def request_repair(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID) -> uuid.UUID:
    """Return the id of the run that does it, begun now or before; raise `NotFound`, or `Conflict` while it goes."""
    inbox = await load_inbox(session, scope, inbox_id, lock=True)
    if inbox.status == "deleting":
        raise Conflict("The inbox is being removed, and its records with it.")
    of = {"tenant": scope.tenant_id, "inbox": inbox_id, "kind": REPAIR_KIND}
    run_id: uuid.UUID | None = await session.scalar(_OPEN, of)
    return run_id or await start_run(session, scope.tenant_id, REPAIR_KIND, inbox_id)
