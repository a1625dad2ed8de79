"""Ask for a data subject's erasure. The worker does it (erase.py), for it takes more than the API's role may.

From the moment it is asked for nothing more is sent to the address: it is suppressed, and what waits is cancelled.
"""

import uuid

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.messages.cancel import cancel_sends_to
from control_plane.messages.suppressions import Reason, Source, suppress
from control_plane.tenancy.scope import TenantScope
from db.models import DataSubjectErasure

#: Written on sends that waited.
WHY = "Its recipient's data is erased."

_ALONE_WITH = text("SELECT pg_advisory_xact_lock(hashtextextended('erasure ' || :tenant_id || ' ' || :address, 0))")


async def request_erasure(session: AsyncSession, scope: TenantScope, address: str) -> DataSubjectErasure:
    """Have all that the tenant has on an address (in lower case) erased; one that is under way already is returned."""
    await alone_with(session, scope.tenant_id, address)
    await suppress(session, scope, [address], Reason.ERASURE, Source.ERASURE)
    await cancel_sends_to(session, scope, address, WHY)
    row = {"id": uuid.uuid4(), "tenant_id": scope.tenant_id, "address": address, "requested_by": scope.actor}
    await session.execute(insert(DataSubjectErasure).values(row).on_conflict_do_nothing())
    of = (DataSubjectErasure.tenant_id == scope.tenant_id, DataSubjectErasure.address == address)
    return (await session.scalars(select(DataSubjectErasure).where(*of))).one()


async def alone_with(session: AsyncSession, tenant_id: uuid.UUID, address: str) -> None:
    """Be the only one, until the transaction ends, who asks for an address's erasure or ends one.

    So what was there when somebody asked is gone when the erasure that they were told of has ended.
    """
    await session.execute(_ALONE_WITH, {"tenant_id": str(tenant_id), "address": address})


async def load_erasure(session: AsyncSession, scope: TenantScope, erasure_id: uuid.UUID) -> DataSubjectErasure:
    """Return one that was asked for; raise `NotFound`."""
    of = (DataSubjectErasure.tenant_id == scope.tenant_id, DataSubjectErasure.id == erasure_id)
    found = (await session.scalars(select(DataSubjectErasure).where(*of))).one_or_none()
    if found is None:
        raise NotFound("There is no such erasure.")
    return found
