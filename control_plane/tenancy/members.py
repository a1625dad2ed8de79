"""A tenant's members as the tenant sees them. Nobody gives a role that may do more than they may themselves.

Who the people are is not the tenant's: their addresses are looked up by the role of log-in (people/who.py).
"""

import datetime as dt
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Update, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, Forbidden, InvalidInput, NotFound
from control_plane.identity.secret_keys import base32, sha256_of
from control_plane.tenancy.keys import Left, actors_of, revoke_keys_of
from control_plane.tenancy.permissions import ROLES, ROLES_IN_WORKSPACES, Permission, Role, permissions_within
from control_plane.tenancy.scope import TenantScope
from control_plane.tenancy.standing import hold_standing
from control_plane.tenancy.workspaces import chosen_workspaces
from db.models import Invitation, Membership, Tenant

#: How long an invitation is good.
INVITATION_DAYS = 7

_SECRET_BYTES = 32
#: Invitations that one tenant may have open: letters to strangers are not to be had without end.
_MOST_OPEN = 100
_OPEN = (Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))


@dataclass(frozen=True, slots=True)
class Place:
    """What somebody is or shall be: a role, in the whole tenant or in single workspaces."""

    role: Role
    #: None for as much as whoever gives it is there for.
    workspaces: frozenset[uuid.UUID] | None = None


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation that was just made; its token is for the letter alone."""

    id: uuid.UUID
    tenant_name: str
    token: str = field(repr=False)


def require_may_give(scope: TenantScope, place: Place) -> None:
    """Raise `Forbidden` unless the caller may make somebody this; only an owner makes owners."""
    if not _may_give(scope, place):
        raise Forbidden(f"The caller cannot make anybody {place.role.value}.")
    if (place.workspaces or scope.workspaces) is not None and place.role not in ROLES_IN_WORKSPACES:
        raise InvalidInput(f"Nobody is {place.role.value} of single workspaces.", "/role")


async def list_members(
    session: AsyncSession, scope: TenantScope, role: Role | None, after: uuid.UUID | None, limit: int
) -> Sequence[Membership]:
    """Return a page of who is a member now, as anything or in one role, by the membership's id."""
    query = select(Membership).where(Membership.tenant_id == scope.tenant_id, Membership.ended_at.is_(None))
    if role is not None:
        query = query.where(Membership.role == role.value)
    if after is not None:
        query = query.where(Membership.id > after)
    return (await session.scalars(query.order_by(Membership.id).limit(limit))).all()


async def load_member(session: AsyncSession, scope: TenantScope, member_id: uuid.UUID) -> Membership:
    """Return who is a member now; raise `NotFound`."""
    query = select(Membership).where(
        Membership.tenant_id == scope.tenant_id, Membership.id == member_id, Membership.ended_at.is_(None)
    )
    found = await session.scalar(query)
    if found is None:
        raise NotFound("There is no such member.")
    return found


async def change_place(
    session: AsyncSession, scope: TenantScope, member_id: uuid.UUID, place: Place, *, keep_workspaces: bool
) -> Membership:
    """Give a member another role, and other workspaces unless they are kept.

    Keys for what they lose, and open invitations to what they may not give any more, end with it.

    Raises `NotFound`, also for a workspace, `Forbidden`, `InvalidInput`, and `Conflict` for the last owner.
    """
    member = await _locked(session, scope, member_id)
    place = replace(place, workspaces=_workspaces_of(member)) if keep_workspaces else place
    require_may_give(scope, place)
    workspaces = await chosen_workspaces(session, scope, place.workspaces)
    if (place.role.value, workspaces) != (member.role, _workspaces_of(member)):
        await _require_may_lose(session, scope, member)
        listed = None if workspaces is None else sorted(workspaces)
        await session.execute(_of(scope, member_id).values(role=place.role.value, workspaces=listed))
        permissions = permissions_within(workspaces, ROLES[place.role])
        await revoke_keys_of(session, scope, member.person_id, Left(permissions, workspaces))
        left = TenantScope(scope.tenant_id, permissions, role=place.role, workspaces=workspaces)
        await _take_back_invitations_of(session, scope, member.person_id, left)
    await session.refresh(member)
    return member


async def end_membership(session: AsyncSession, scope: TenantScope, member_id: uuid.UUID) -> None:
    """Have somebody be a member no longer, at once; raise `NotFound`, `Forbidden`, `Conflict` for the last owner."""
    member = await _locked(session, scope, member_id)
    await _require_may_lose(session, scope, member)
    await _end(session, scope, member)


async def leave(session: AsyncSession, scope: TenantScope, person_id: uuid.UUID) -> None:
    """Leave the tenant oneself; raise `NotFound` for a tenant one is not in, and `Conflict` for the last owner."""
    query = select(Membership.id).where(
        Membership.tenant_id == scope.tenant_id, Membership.person_id == person_id, Membership.ended_at.is_(None)
    )
    member_id = await session.scalar(query)
    if member_id is None:
        raise NotFound("There is no such tenant.")
    member = await _locked(session, scope, member_id)
    await _require_another_owner(session, scope, member)
    await _end(session, scope, member)


async def invite(
    session: AsyncSession, scope: TenantScope, email: str, place: Place, now: dt.datetime
) -> NewInvitation:
    """Insert an invitation; an earlier one of the address is taken back.

    Raises `Forbidden`, `InvalidInput`, `NotFound` for a workspace, and `Conflict` when too many are open; and what
    `hold_standing` raises, for it ends with what lets the caller send it.
    """
    require_may_give(scope, place)
    await hold_standing(session, scope)
    workspaces = await chosen_workspaces(session, scope, place.workspaces)
    own = (Invitation.tenant_id == scope.tenant_id, *_OPEN)
    await session.execute(update(Invitation).where(*own, Invitation.email == email).values(revoked_at=now))
    count = select(func.count()).select_from(Invitation).where(*own, Invitation.expires_at > now)
    if (await session.scalar(count) or 0) >= _MOST_OPEN:
        raise Conflict(f"There are {_MOST_OPEN} open invitations; take some back first.")
    token, invitation_id = base32(secrets.token_bytes(_SECRET_BYTES)), uuid.uuid4()
    values = {
        "email": email,
        "role": place.role.value,
        "workspaces": None if workspaces is None else sorted(workspaces),
        "token_sha256": sha256_of(token),
        "invited_by": scope.actor,
    }
    expires_at = now + dt.timedelta(days=INVITATION_DAYS)
    await session.execute(
        insert(Invitation).values(id=invitation_id, tenant_id=scope.tenant_id, expires_at=expires_at, **values)
    )
    tenant_name = (await session.scalars(select(Tenant.name).where(Tenant.id == scope.tenant_id))).one()
    return NewInvitation(invitation_id, tenant_name, token)


async def list_invitations(
    session: AsyncSession, scope: TenantScope, after: uuid.UUID | None, limit: int
) -> Sequence[Invitation]:
    """Return a page of invitations, also those out of force, by id."""
    query = select(Invitation).where(Invitation.tenant_id == scope.tenant_id)
    if after is not None:
        query = query.where(Invitation.id > after)
    return (await session.scalars(query.order_by(Invitation.id).limit(limit))).all()


async def load_invitation(session: AsyncSession, scope: TenantScope, invitation_id: uuid.UUID) -> Invitation:
    """Return an invitation of the tenant; raise `NotFound`."""
    query = select(Invitation).where(Invitation.tenant_id == scope.tenant_id, Invitation.id == invitation_id)
    found = await session.scalar(query)
    if found is None:
        raise NotFound("There is no such invitation.")
    return found


async def take_back(session: AsyncSession, scope: TenantScope, invitation_id: uuid.UUID) -> None:
    """Put an invitation out of force; raise `NotFound`, and `Conflict` for one that was taken up."""
    invitation = await load_invitation(session, scope, invitation_id)
    if invitation.accepted_at is not None:
        raise Conflict("The invitation was taken up; end the membership instead.")
    await session.execute(
        update(Invitation)
        .where(Invitation.tenant_id == scope.tenant_id, Invitation.id == invitation_id, *_OPEN)
        .values(revoked_at=func.now())
    )


async def _locked(session: AsyncSession, scope: TenantScope, member_id: uuid.UUID) -> Membership:
    """Return a member, with all owners locked: of two that leave at once, the second sees that the first is gone."""
    owners = select(Membership.id).where(
        Membership.tenant_id == scope.tenant_id, Membership.role == Role.OWNER.value, Membership.ended_at.is_(None)
    )
    await session.execute(owners.order_by(Membership.id).with_for_update())
    query = select(Membership).where(
        Membership.tenant_id == scope.tenant_id, Membership.id == member_id, Membership.ended_at.is_(None)
    )
    found = await session.scalar(query.with_for_update())
    if found is None:
        raise NotFound("There is no such member.")
    return found


async def _end(session: AsyncSession, scope: TenantScope, member: Membership) -> None:
    """End a membership, and by what its person would be in the tenant still: keys, and invitations under way."""
    await session.execute(_of(scope, member.id).values(ended_at=func.now()))
    await revoke_keys_of(session, scope, member.person_id)
    await _take_back_invitations_of(session, scope, member.person_id)


async def _take_back_invitations_of(
    session: AsyncSession, scope: TenantScope, person_id: uuid.UUID, left: TenantScope | None = None
) -> None:
    """Take back what somebody invited to, also by their keys; of somebody who is left with something, what is beyond.

    Locked first: what is taken up meanwhile stays, and what is taken back here is taken up no more.
    """
    sent = select(Invitation).where(
        Invitation.tenant_id == scope.tenant_id,
        Invitation.invited_by.in_(await actors_of(session, scope, person_id)),
        *_OPEN,
    )
    invitations = await session.scalars(sent.order_by(Invitation.id).with_for_update())
    ended = [each.id for each in invitations if left is None or not _may_still_give(left, each)]
    of = (Invitation.tenant_id == scope.tenant_id, Invitation.id.in_(ended))
    await session.execute(update(Invitation).where(*of).values(revoked_at=func.now()))


def _may_still_give(left: TenantScope, invitation: Invitation) -> bool:
    """Tell whether somebody who has this now could invite to the same still."""
    workspaces = _workspaces_of(invitation)
    is_within = left.workspaces is None or (workspaces is not None and workspaces <= left.workspaces)
    place = Place(Role(invitation.role), workspaces)
    return Permission.MANAGE_MEMBERS in left.permissions and is_within and _may_give(left, place)


def _may_give(scope: TenantScope, place: Place) -> bool:
    gives = permissions_within(place.workspaces or scope.workspaces, ROLES[place.role])
    return gives <= scope.permissions and (place.role is not Role.OWNER or scope.role is Role.OWNER)


async def _require_may_lose(session: AsyncSession, scope: TenantScope, member: Membership) -> None:
    require_may_give(scope, Place(Role(member.role), _workspaces_of(member)))
    await _require_another_owner(session, scope, member)


async def _require_another_owner(session: AsyncSession, scope: TenantScope, member: Membership) -> None:
    if member.role != Role.OWNER.value:
        return
    others = select(func.count()).where(
        Membership.tenant_id == scope.tenant_id,
        Membership.role == Role.OWNER.value,
        Membership.ended_at.is_(None),
        Membership.id != member.id,
    )
    if not await session.scalar(others):
        raise Conflict("A tenant has an owner; make somebody else one first.")


def _workspaces_of(place: Membership | Invitation) -> frozenset[uuid.UUID] | None:
    return None if place.workspaces is None else frozenset(place.workspaces)


def _of(scope: TenantScope, member_id: uuid.UUID) -> Update:
    return update(Membership).where(Membership.tenant_id == scope.tenant_id, Membership.id == member_id)
