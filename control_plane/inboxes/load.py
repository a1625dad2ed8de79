"""A tenant's domains, inboxes and the DNS records they depend on, as they are."""

import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.tenancy.scope import TenantScope
from db.models import DnsRecordRow, Domain, Inbox

_THERE = "SELECT FROM inboxes WHERE tenant_id = %(tenant_id)s AND id = %(id)s"


class InboxStatus(enum.StrEnum):
    """How far an inbox has come."""

    PENDING_SETUP = "pending_setup"
    PENDING_DNS = "pending_dns"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class InboxFilter:
    """Which inboxes of a workspace; None is any. `email_address` is as `parse_mailbox_address` returns it."""

    workspace_id: uuid.UUID
    status: InboxStatus | None = None
    email_address: str | None = None


async def load_inbox(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, *, lock: bool = False) -> Inbox:
    """Return an inbox, locked when asked against other changes and new sends; raise `NotFound`."""
    query = select(Inbox).where(Inbox.tenant_id == scope.tenant_id, Inbox.id == inbox_id)
    inbox = await session.scalar(query.with_for_update() if lock else query)
    if inbox is None:
        raise NotFound("There is no such inbox.")
    return inbox


async def require_inbox(connection: AsyncConnection[Any], scope: TenantScope, inbox_id: uuid.UUID) -> None:
    """Raise `NotFound` where there is no such inbox."""
    found = await connection.execute(_THERE, {"tenant_id": scope.tenant_id, "id": inbox_id})
    if found.rowcount == 0:
        raise NotFound("There is no such inbox.")


def _there(scope: TenantScope) -> tuple[ColumnElement[bool], ...]:
    return Domain.tenant_id == scope.tenant_id, Domain.deleted_at.is_(None)


async def load_domain(session: AsyncSession, scope: TenantScope, domain_id: uuid.UUID, *, lock: bool = False) -> Domain:
    """Return a sending domain, locked when asked against other changes; raise `NotFound`."""
    query = select(Domain).where(*_there(scope), Domain.id == domain_id)
    domain = await session.scalar(query.with_for_update() if lock else query)
    if domain is None:
        raise NotFound("There is no such domain.")
    return domain


async def list_domains(
    session: AsyncSession, scope: TenantScope, name: str | None, after: uuid.UUID | None, limit: int
) -> Sequence[Domain]:
    """Return the tenant's domains, or the one of a name, in the order of their ids, from the one after `after`."""
    query = select(Domain).where(*_there(scope))
    if name is not None:
        query = query.where(Domain.name == name)
    if after is not None:
        query = query.where(Domain.id > after)
    return (await session.scalars(query.order_by(Domain.id).limit(limit))).all()


async def list_inboxes(
    session: AsyncSession, scope: TenantScope, wanted: InboxFilter, after: uuid.UUID | None, limit: int
) -> Sequence[Inbox]:
    """Return a workspace's inboxes in the order of their ids, from the one after `after`."""
    query = select(Inbox).where(Inbox.tenant_id == scope.tenant_id, Inbox.workspace_id == wanted.workspace_id)
    if wanted.status is not None:
        query = query.where(Inbox.status == wanted.status.value)
    if wanted.email_address is not None:
        query = query.where(Inbox.email_address == wanted.email_address)
    if after is not None:
        query = query.where(Inbox.id > after)
    return (await session.scalars(query.order_by(Inbox.id).limit(limit))).all()


async def load_dns_records(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID) -> Sequence[DnsRecordRow]:
    """Return the DNS records that the inbox depends on, in a stable order."""
    query = (
        select(DnsRecordRow)
        .where(DnsRecordRow.tenant_id == scope.tenant_id, DnsRecordRow.inbox_id == inbox_id)
        .order_by(DnsRecordRow.domain, DnsRecordRow.record_type, DnsRecordRow.record_name, DnsRecordRow.record_value)
    )
    return (await session.scalars(query)).all()
