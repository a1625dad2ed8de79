"""Tenants as operators see them, and the end of one."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.operators.acts import Act, Actor, record
from control_plane.privacy.end_of_tenant import begin_erasure
from db.models import Tenant


@dataclass(frozen=True, slots=True)
class TenantStanding:
    """A tenant and how it stands: active, suspended, erasing, or erased since `erased_at`."""

    id: uuid.UUID
    name: str
    state: str
    created_at: dt.datetime
    erased_at: dt.datetime | None


_STANDING = select(Tenant.id, Tenant.name, Tenant.state, Tenant.created_at, Tenant.erased_at)


async def list_standings(session: AsyncSession, after: uuid.UUID | None, limit: int) -> Sequence[TenantStanding]:
    """Return a page of tenants by id, also those that were erased, from the one after `after`."""
    query = _STANDING if after is None else _STANDING.where(Tenant.id > after)
    return [TenantStanding(*row) for row in await session.execute(query.order_by(Tenant.id).limit(limit))]


async def load_standing(session: AsyncSession, tenant_id: uuid.UUID) -> TenantStanding:
    """Return how a tenant stands; raise `NotFound`."""
    row = (await session.execute(_STANDING.where(Tenant.id == tenant_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such tenant.")
    return TenantStanding(*row)


async def erase(session: AsyncSession, actor: Actor, tenant_id: uuid.UUID, reason: str | None = None) -> None:
    """Decide that a tenant is erased, which the worker does within minutes; begun before, it goes on.

    Raises `NotFound`, and `Conflict` while it has servers, or when it was erased before.
    """
    await begin_erasure(session, tenant_id)
    await record(session, actor, Act.ERASE_TENANT, {"tenant_id": tenant_id}, reason)
