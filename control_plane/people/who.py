"""Who people are, for those who may know: themselves, and who sees them as members of a tenant."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import Membership, Person, Tenant


@dataclass(frozen=True, slots=True)
class TenantOfPerson:
    """A tenant that somebody is in."""

    tenant_id: uuid.UUID
    name: str
    role: str


async def load_person(session: AsyncSession, person_id: uuid.UUID) -> Person:
    """Return a person who is known to be there."""
    return await session.get_one(Person, person_id)


async def people_of(session: AsyncSession, ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, Person]:
    """Return people by id."""
    return {person.id: person for person in await session.scalars(select(Person).where(Person.id.in_(list(ids))))}


async def tenants_of(session: AsyncSession, person_id: uuid.UUID) -> Sequence[TenantOfPerson]:
    """Return what somebody is a member of, the longest first."""
    query = (
        select(Tenant.id, Tenant.name, Membership.role)
        .join(Membership, Membership.tenant_id == Tenant.id)
        .where(Membership.person_id == person_id, Membership.ended_at.is_(None))
        .order_by(Membership.created_at, Membership.id)
    )
    return [TenantOfPerson(*row) for row in await session.execute(query)]
