"""What happened to what a tenant has, newest first. Recorded from a tenant's first webhook on; notices always."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.tenancy.scope import TenantScope
from control_plane.webhooks.event_types import NOTICES, EventType, NoticeType
from db.models import TenantEvent
from db.models.base import columns_of

_EVENTS = select(*columns_of(TenantEvent))


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None is any."""

    type: EventType | None = None
    subject_id: uuid.UUID | None = None
    workspace_id: uuid.UUID | None = None


async def list_events(
    session: AsyncSession, scope: TenantScope, wanted: EventFilter, after: uuid.UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """Return events of the tenant, those recorded before the one that `after` names."""
    query = _EVENTS.where(TenantEvent.tenant_id == scope.tenant_id)
    if wanted.type is not None:
        query = query.where(TenantEvent.type == wanted.type.value)
    if wanted.subject_id is not None:
        query = query.where(TenantEvent.subject_id == wanted.subject_id)
    if wanted.workspace_id is not None:
        query = query.where(TenantEvent.workspace_id == wanted.workspace_id)
    return await _page(session, scope, query, after, limit)


async def list_notices(
    session: AsyncSession, scope: TenantScope, wanted: NoticeType | None, after: uuid.UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """Return the tenant's notices, all or those of one type, recorded before the one that `after` names."""
    kinds = [kind.value for kind in NOTICES if wanted in {None, kind}]
    query = _EVENTS.where(TenantEvent.tenant_id == scope.tenant_id, TenantEvent.type.in_(kinds))
    return await _page(session, scope, query, after, limit)


async def load_event(session: AsyncSession, scope: TenantScope, event_id: uuid.UUID) -> TenantEvent:
    """Return one event; raise `NotFound`."""
    query = select(TenantEvent).where(TenantEvent.tenant_id == scope.tenant_id, TenantEvent.id == event_id)
    found = (await session.scalars(query)).one_or_none()
    if found is None:
        raise NotFound("There is no such event.")
    return found


async def _page(
    session: AsyncSession, scope: TenantScope, query: Select[Any], after: uuid.UUID | None, limit: int
) -> Sequence[Row[Any]]:
    if after is not None:
        before = select(TenantEvent.position).where(TenantEvent.tenant_id == scope.tenant_id, TenantEvent.id == after)
        query = query.where(TenantEvent.position < before.scalar_subquery())
    rows: Sequence[Row[Any]] = (await session.execute(query.order_by(TenantEvent.position.desc()).limit(limit))).all()
    return rows
