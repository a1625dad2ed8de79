"""Append to a tenant's chain, and read it."""

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.audit.chain import GENESIS, Deed, Link, hash_of
from db.models import AuditEvent
from db.models.base import columns_of

_PAGE = 1000
_DEEDS = select(*columns_of(AuditEvent))
# Held until the end of the transaction, which is near: deeds are written last.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(tenant)s::text, 58))"
# Whoever may read no deeds goes on from the last one all the same.
_LAST = "SELECT newest_position, newest_hash FROM newest_deed(%(tenant)s) WHERE newest_position IS NOT NULL"
_APPEND = """
INSERT INTO audit_events
    (tenant_id, position, at, actor, act, subject, fields, address, request_id, previous_hash, hash)
VALUES (%(tenant)s, %(position)s, %(at)s, %(actor)s, %(act)s, %(subject)s, %(fields)s, %(address)s, %(request_id)s,
    %(previous)s, %(hash)s)
"""


@dataclass(frozen=True, slots=True)
class DeedFilter:
    """Which deeds, from `start` on and before `end`; None is any."""

    actor: str | None = None
    act: str | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None


async def append(connection: AsyncConnection[Any], tenant_id: uuid.UUID, deed: Deed) -> None:
    """Write a deed down in the transaction that does it; deeds of one tenant wait for each other here."""
    await connection.execute(_LOCK, {"tenant": tenant_id})
    last: Any = await (await connection.execute(_LAST, {"tenant": tenant_id})).fetchone()
    position, previous = (last[0] + 1, bytes(last[1])) if last else (1, GENESIS)
    row = {
        "tenant": tenant_id,
        "position": position,
        "at": deed.at,
        "actor": deed.actor,
        "act": deed.act,
        "subject": Jsonb(deed.subject),
        "fields": deed.fields,
        "address": deed.address,
        "request_id": deed.request_id,
        "previous": previous,
        "hash": hash_of(tenant_id, position, deed, previous),
    }
    await connection.execute(_APPEND, row)


async def list_newest(
    session: AsyncSession, tenant_id: uuid.UUID, wanted: DeedFilter, after: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Return a page of a tenant's deeds, newest first, from the one before `after`."""
    query = _DEEDS.where(AuditEvent.tenant_id == tenant_id)
    if wanted.actor is not None:
        query = query.where(AuditEvent.actor == wanted.actor)
    if wanted.act is not None:
        query = query.where(AuditEvent.act == wanted.act)
    if wanted.start is not None:
        query = query.where(AuditEvent.at >= wanted.start)
    if wanted.end is not None:
        query = query.where(AuditEvent.at < wanted.end)
    if after is not None:
        query = query.where(AuditEvent.position < after)
    return (await session.execute(query.order_by(AuditEvent.position.desc()).limit(limit))).all()


async def walk(session: AsyncSession, tenant_id: uuid.UUID) -> AsyncIterator[Link]:
    """Yield a tenant's chain, oldest first."""
    reached = 0
    while True:
        query = select(AuditEvent).where(AuditEvent.tenant_id == tenant_id, AuditEvent.position > reached)
        page = (await session.scalars(query.order_by(AuditEvent.position).limit(_PAGE))).all()
        for row in page:
            yield link_of(row)
        if len(page) < _PAGE:
            return
        reached = page[-1].position


def link_of(row: AuditEvent) -> Link:
    """Return the link that a row holds."""
    deed = Deed(row.at, row.actor, row.act, row.subject, row.fields, row.address, row.request_id)
    return Link(row.tenant_id, row.position, deed, bytes(row.previous_hash), bytes(row.hash))
