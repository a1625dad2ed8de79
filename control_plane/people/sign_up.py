"""Signing up: nobody is a person before a letter to their address was answered.

Whoever signs up is told the same whether the address is known or not; what is true stands in the letter.
"""

import datetime as dt
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, Forbidden, InvalidInput, NotFound
from control_plane.identity.secret_keys import base32, sha256_of
from control_plane.tenancy.permissions import Role
from db.models import Invitation, Membership, Person, SignUp, Tenant, Workspace

_GOOD_FOR = dt.timedelta(days=1)
_SECRET_BYTES = 32
#: A tenant needs one to work in.
FIRST_WORKSPACE = "Main"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody signs up with; a tenant of their own, or an invitation."""

    email: str
    name: str
    password_hash: str = field(repr=False)
    tenant_name: str | None
    invitation_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Joined:
    """A person and the tenant that they are in now."""

    person_id: uuid.UUID
    tenant_id: uuid.UUID


def new_token() -> str:
    """Return a token of 256 random bits for a letter."""
    return base32(secrets.token_bytes(_SECRET_BYTES))


async def ask(session: AsyncSession, wanted: Wanted, now: dt.datetime) -> str | None:
    """Keep what somebody wants; return the token for the letter, None when the address is a person's already.

    Raises `NotFound` for an invitation that is not in force, `Forbidden` for one of another address. An earlier
    sign-up of the address is of no use from now on.
    """
    invitation_id = None
    if wanted.invitation_token is not None:
        invitation = await open_invitation(session, wanted.invitation_token, wanted.email, now)
        invitation_id = invitation.id
    if await session.scalar(select(Person.id).where(Person.email == wanted.email)) is not None:
        return None
    await session.execute(delete(SignUp).where((SignUp.email == wanted.email) | (SignUp.expires_at <= now)))
    token = new_token()
    values = {
        "token_sha256": sha256_of(token),
        "email": wanted.email,
        "name": wanted.name,
        "password_hash": wanted.password_hash,
        "tenant_name": None if invitation_id else wanted.tenant_name,
        "invitation_id": invitation_id,
        "expires_at": now + _GOOD_FOR,
    }
    await session.execute(insert(SignUp).values(values))
    return token


async def verify(session: AsyncSession, token: str, now: dt.datetime) -> Joined:
    """Make the person, and the tenant or the membership. Raises `InvalidInput` for a token that is not in force."""
    columns = (SignUp.email, SignUp.name, SignUp.password_hash, SignUp.tenant_name, SignUp.invitation_id)
    burnt = delete(SignUp).where(SignUp.token_sha256 == sha256_of(token), SignUp.expires_at > now).returning(*columns)
    found = (await session.execute(burnt)).one_or_none()
    if found is None:
        raise InvalidInput("The code is not in force; sign up again for another.", "/token")
    inserted = postgresql_insert(Person).values(email=found.email, name=found.name, password_hash=found.password_hash)
    person_id = await session.scalar(inserted.on_conflict_do_nothing().returning(Person.id))
    if person_id is None:
        raise Conflict("This address has an account already; log in.")
    if found.invitation_id is None:
        return Joined(person_id, await own_tenant(session, person_id, found.tenant_name))
    invitation = await session.get(Invitation, found.invitation_id, with_for_update=True)
    if invitation is None or not _in_force(invitation, now):
        raise Conflict("The invitation was taken back meanwhile or has expired; sign up without it.")
    return Joined(person_id, await _take_up(session, invitation, person_id, now))


async def accept(session: AsyncSession, person_id: uuid.UUID, token: str, now: dt.datetime) -> uuid.UUID:
    """Make somebody who has an account a member; return the tenant.

    Raises `NotFound`, `Forbidden` for an invitation of another address, `Conflict` for one who is a member already.
    """
    email = await session.scalar(select(Person.email).where(Person.id == person_id))
    return await _take_up(session, await open_invitation(session, token, email or "", now), person_id, now)


async def open_invitation(session: AsyncSession, token: str, email: str, now: dt.datetime) -> Invitation:
    """Return the invitation of a token, locked; raise `NotFound` and, for another address, `Forbidden`."""
    query = select(Invitation).where(Invitation.token_sha256 == sha256_of(token)).with_for_update()
    invitation = await session.scalar(query)
    if invitation is None or not _in_force(invitation, now):
        raise NotFound("The invitation is not in force.")
    if invitation.email != email:
        raise Forbidden("The invitation is for another address.")
    return invitation


async def own_tenant(session: AsyncSession, person_id: uuid.UUID, name: str) -> uuid.UUID:
    """Make a tenant that a person owns; return it."""
    tenant_id = uuid.uuid4()
    await session.execute(insert(Tenant).values(id=tenant_id, name=name))
    await session.execute(insert(Workspace).values(id=uuid.uuid4(), tenant_id=tenant_id, name=FIRST_WORKSPACE))
    await _join(session, tenant_id, person_id, Role.OWNER)
    return tenant_id


async def _take_up(session: AsyncSession, invitation: Invitation, person_id: uuid.UUID, now: dt.datetime) -> uuid.UUID:
    invitation.accepted_at = now
    if not await _is_let_into_more(session, invitation, person_id):
        await _join(session, invitation.tenant_id, person_id, Role(invitation.role), invitation.workspaces)
    return invitation.tenant_id


async def _is_let_into_more(session: AsyncSession, invitation: Invitation, person_id: uuid.UUID) -> bool:
    """Add the invitation's workspaces to those of somebody who is the same in others of the tenant; tell whether."""
    query = select(Membership).where(
        Membership.tenant_id == invitation.tenant_id, Membership.person_id == person_id, Membership.ended_at.is_(None)
    )
    present = await session.scalar(query)
    if present is None or present.workspaces is None or invitation.workspaces is None:
        return False
    if present.role != invitation.role:
        raise Conflict(f"This person is {present.role} in other workspaces; have that changed first.")
    present.workspaces = sorted({*present.workspaces, *invitation.workspaces})
    return True


async def _join(
    session: AsyncSession,
    tenant_id: uuid.UUID,
    person_id: uuid.UUID,
    role: Role,
    workspaces: Sequence[uuid.UUID] | None = None,
) -> None:
    joined = postgresql_insert(Membership).values(
        id=uuid.uuid4(), tenant_id=tenant_id, person_id=person_id, role=role.value, workspaces=workspaces
    )
    if await session.scalar(joined.on_conflict_do_nothing().returning(Membership.id)) is None:
        raise Conflict("This person is a member already.")


def _in_force(invitation: Invitation, now: dt.datetime) -> bool:
    return invitation.accepted_at is None and invitation.revoked_at is None and invitation.expires_at > now
