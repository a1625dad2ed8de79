"""Ask for a data subject's erasure. The worker does it (erase.py), for it takes more than the API's role may.

From the moment it is asked for nothing more is sent to the address: it is suppressed, and what waits is cancelled.
"""

import uuid

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.messages.cancel import cancel_sends_to
from control_plane.messages.suppressions import Reason, Source, suppress
from control_plane.tenancy.scope import TenantScope
from db.models import DataSubjectErasure

#: Written on sends that waited.
WHY = "Its recipient's data is erased."


async def request_erasure(session: AsyncSession, scope: TenantScope, address: str) -> DataSubjectErasure:
    """Have all that the tenant has on an address (in lower case) erased; one that is under way already is returned."""
    await suppress(session, scope, [address], Reason.ERASURE, Source.ERASURE)
    await cancel_sends_to(session, scope, address, WHY)
    row = {"id": uuid.uuid4(), "tenant_id": scope.tenant_id, "address": address, "requested_by": scope.actor}
    await session.execute(insert(DataSubjectErasure).values(row).on_conflict_do_nothing())
    of = (DataSubjectErasure.tenant_id == scope.tenant_id, DataSubjectErasure.address == address)
    return (await session.scalars(select(DataSubjectErasure).where(*of))).one()


async def load_erasure(session: AsyncSession, scope: TenantScope, erasure_id: uuid.UUID) -> DataSubjectErasure:
    """Return one that was asked for; raise `NotFound`."""
    of = (DataSubjectErasure.tenant_id == scope.tenant_id, DataSubjectErasure.id == erasure_id)
    found = (await session.scalars(select(DataSubjectErasure).where(*of))).one_or_none()
    if found is None:
        raise NotFound("There is no such erasure.")
    return found
