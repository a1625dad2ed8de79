"""Cancel sends that nobody has taken yet."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.tenancy.scope import TenantScope

_CANCEL = text("""
WITH cancelled AS (
    UPDATE messages SET state = 'cancelled', state_reason = :reason, final_at = now()
    WHERE tenant_id = :tenant_id AND inbox_id = :inbox_id AND state = 'accepted'
    RETURNING id
), recorded AS (
    INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, applied, detail)
    SELECT :tenant_id, id, gen_random_uuid(), 'cancelled', now(), true,
        jsonb_build_object('detail', CAST(:reason AS text))
    FROM cancelled
)
SELECT count(*) FROM cancelled
""")


async def cancel_waiting_sends(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, reason: str) -> int:
    """Cancel the inbox's sends that are not leased; return how many there were."""
    cancelled = await session.scalar(_CANCEL, {"tenant_id": scope.tenant_id, "inbox_id": inbox_id, "reason": reason})
    return int(cancelled or 0)
