"""Destroy a tenant's keys: what they sealed opens nowhere any more, in no copy of the database that lacks them."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_SHRED = text("DELETE FROM tenant_data_keys WHERE tenant_id = :tenant RETURNING id")


async def shred(session: AsyncSession, tenant_id: uuid.UUID) -> int:
    """Destroy all data keys of a tenant (system role) and return how many there were.

    A backup holds wrapped copies of them: they go with the backup, or with the master key (`keys rotate`, `keys
    retire`).
    """
    return len((await session.execute(_SHRED, {"tenant": tenant_id})).all())
