"""Ask for records that a domain may have, or for them no more; its zone follows in the background."""

import uuid
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.pipelines.runs import start_run
from control_plane.provisioning.repairs import REPAIR_KIND
from control_plane.tenancy.scope import TenantScope
from db.models import Domain, Inbox


async def change_extras(
    session: AsyncSession, scope: TenantScope, domain_id: uuid.UUID, changes: Mapping[str, str | bool | None]
) -> Domain:
    """Set the given columns, and have the zone brought up to date when one of them changes. Raises `NotFound`.

    A run that goes on already may be past the look at them, so one more is begun; both hold the domain's lock in turn.
    """
    found = select(Domain).where(Domain.tenant_id == scope.tenant_id, Domain.id == domain_id)
    domain = await session.scalar(found.with_for_update())
    if domain is None:
        raise NotFound("There is no such domain.")
    if all(getattr(domain, name) == value for name, value in changes.items()):
        return domain
    for name, value in changes.items():
        setattr(domain, name, value)
    await session.flush()
    inbox_id = await session.scalar(
        select(Inbox.id)
        .where(Inbox.tenant_id == scope.tenant_id, Inbox.domain_id == domain_id, Inbox.status != "deleting")
        .order_by(Inbox.id)
        .limit(1)
    )
    if inbox_id is not None:
        await start_run(session, scope.tenant_id, REPAIR_KIND, inbox_id)
    return domain
