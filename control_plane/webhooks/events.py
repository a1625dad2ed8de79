"""What happened to what a tenant has, newest first. It is recorded from when the tenant has its first webhook."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.tenancy.scope import TenantScope
from control_plane.webhooks.event_types import EventType
from db.models import TenantEvent


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None is any."""

    type: EventType | None = None
    subject_id: uuid.UUID | None = None
    workspace_id: uuid.UUID | None = None


async def list_events(
    session: AsyncSession, scope: TenantScope, wanted: EventFilter, after: uuid.UUID | None, limit: int
) -> Sequence[TenantEvent]:
    """Return events of the tenant, those recorded before the one that `after` names."""
    query = select(TenantEvent).where(TenantEvent.tenant_id == scope.tenant_id)
    if wanted.type is not None:
        query = query.where(TenantEvent.type == wanted.type.value)
    if wanted.subject_id is not None:
        query = query.where(TenantEvent.subject_id == wanted.subject_id)
    if wanted.workspace_id is not None:
        query = query.where(TenantEvent.workspace_id == wanted.workspace_id)
    if after is not None:
        before = select(TenantEvent.position).where(TenantEvent.tenant_id == scope.tenant_id, TenantEvent.id == after)
        query = query.where(TenantEvent.position < before.scalar_subquery())
    return (await session.scalars(query.order_by(TenantEvent.position.desc()).limit(limit))).all()


async def load_event(session: AsyncSession, scope: TenantScope, event_id: uuid.UUID) -> TenantEvent:
    """Return one event; raise `NotFound`."""
    query = select(TenantEvent).where(TenantEvent.tenant_id == scope.tenant_id, TenantEvent.id == event_id)
    found = (await session.scalars(query)).one_or_none()
    if found is None:
        raise NotFound("There is no such event.")
    return found
