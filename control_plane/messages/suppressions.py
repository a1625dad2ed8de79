"""A tenant's suppressions: addresses that its mail is not sent to, as the queuer's claim finds them.

What is taken off the list is out of force at once and deleted later, by the worker (privacy/retention.py). An address
that was erased stands on it as a keyed hash and holds as before; it is not found by the address any more.
"""

import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.inboxes.addresses import parse_address
from control_plane.tenancy.scope import TenantScope
from db.models import Suppression
from db.models.base import columns_of

_LISTED = select(*columns_of(Suppression))


class Reason(enum.StrEnum):
    """Why an address is on the list."""

    MANUAL = "manual"
    HARD_BOUNCE = "hard-bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    ERASURE = "erasure"


class Source(enum.StrEnum):
    """How it came there."""

    API = "api"
    OPERATOR = "operator"
    IMPORT = "import"
    DELIVERY = "delivery"
    ERASURE = "erasure"


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """Which suppressions; None is any. `address` is in lower case."""

    reason: Reason | None = None
    source: Source | None = None
    address: str | None = None


def address_on_list(address: str, field: str) -> str:
    """Return an address as the list has it; raise `InvalidInput` naming `field` (a JSON pointer) when it is none."""
    return str(parse_address(address, field)).lower()


async def suppress(
    session: AsyncSession, scope: TenantScope, addresses: Sequence[str], reason: Reason, source: Source
) -> Sequence[Suppression]:
    """Put addresses on the list, each as `address_on_list` returns it; what is in force already stays as it is.

    Returns them by address.
    """
    rows = [
        {"tenant_id": scope.tenant_id, "address": address, "reason": reason.value, "source": source.value}
        # In one order for all, so that nobody waits in a circle.
        for address in sorted(set(addresses))
    ]
    adding = insert(Suppression)
    again = {"reason": reason.value, "source": source.value, "created_at": func.now(), "removed_at": None}
    # One that is in force is not written.
    adding = adding.on_conflict_do_update(
        index_elements=["tenant_id", "address"], set_=again, where=Suppression.removed_at.is_not(None)
    )
    if rows:
        await session.execute(adding.values(rows))
    kept = select(Suppression).where(
        Suppression.tenant_id == scope.tenant_id, Suppression.address.in_([row["address"] for row in rows])
    )
    return (await session.scalars(kept.order_by(Suppression.address))).all()


async def list_suppressions(
    session: AsyncSession, scope: TenantScope, wanted: SuppressionFilter, after: uuid.UUID | None, limit: int
) -> Sequence[Row[Any]]:
    """Return a page of what is in force in the order of their ids, from the one after `after`."""
    query = _LISTED.where(Suppression.tenant_id == scope.tenant_id, Suppression.removed_at.is_(None))
    if wanted.reason is not None:
        query = query.where(Suppression.reason == wanted.reason.value)
    if wanted.source is not None:
        query = query.where(Suppression.source == wanted.source.value)
    if wanted.address is not None:
        query = query.where(Suppression.address == wanted.address)
    if after is not None:
        query = query.where(Suppression.id > after)
    return (await session.execute(query.order_by(Suppression.id).limit(limit))).all()


async def load_suppression(session: AsyncSession, scope: TenantScope, suppression_id: uuid.UUID) -> Suppression:
    """Return one that is in force; raise `NotFound`."""
    query = select(Suppression).where(
        Suppression.tenant_id == scope.tenant_id, Suppression.id == suppression_id, Suppression.removed_at.is_(None)
    )
    found = await session.scalar(query)
    if found is None:
        raise NotFound("There is no such suppression.")
    return found


async def remove_suppression(session: AsyncSession, scope: TenantScope, suppression_id: uuid.UUID) -> None:
    """Take one off the list: sends to it may leave again. Raises `NotFound`."""
    await load_suppression(session, scope, suppression_id)
    of = (Suppression.tenant_id == scope.tenant_id, Suppression.id == suppression_id)
    await session.execute(update(Suppression).where(*of).values(removed_at=func.now()))
