"""Who is a member of the tenant, and as what."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Request, status
from pydantic import BaseModel, ConfigDict

from control_plane.people.who import people_of
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.workspaces import Workspaces
from control_plane.tenancy.members import Place, change_place, end_membership, list_members, load_member
from control_plane.tenancy.permissions import Permission, Role
from db.models import Membership, Person

router = APIRouter(prefix="/members", tags=["members"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_MEMBERS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_MEMBERS)]


class RoleBody(BaseModel):
    """What the member becomes, and where; without `workspaces`, where they are it now."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    workspaces: Workspaces = None


class MemberView(BaseModel):
    """A member; `id` is of the membership. Without workspaces they are one of the whole tenant."""

    id: uuid.UUID
    person_id: uuid.UUID
    email: str
    name: str
    role: Role
    workspaces: list[uuid.UUID] | None
    created_at: dt.datetime


class MemberList(BaseModel):
    """A page of members; `next` is what to send as `after` for the page that follows."""

    items: list[MemberView]
    next: str | None


@router.get("")
async def list_all(request: Request, access: _Reading, page: TenantsPage, role: Role | None = None) -> MemberList:
    """List who is a member."""
    members = await list_members(access.session, access.scope, role, page.after, page.limit)
    known = await _known(request, members)
    return MemberList(
        items=[_view(member, known) for member in members], next=page.next_after([each.id for each in members])
    )


@router.get("/{member_id}")
async def show(member_id: uuid.UUID, request: Request, access: _Reading) -> MemberView:
    """Show who somebody is here."""
    member = await load_member(access.session, access.scope, member_id)
    return _view(member, await _known(request, [member]))


@router.patch("/{member_id}")
async def change(member_id: uuid.UUID, body: RoleBody, request: Request, access: _Managing) -> MemberView:
    """Give a member another role, or other workspaces, from their next request on.

    What they made by the old one and could not make by the new one ends with it: API keys are revoked and open
    invitations taken back, also those that such keys made or sent.
    """
    keep = "workspaces" not in body.model_fields_set
    place = Place(body.role, body.workspaces)
    member = await change_place(access.session, access.scope, member_id, place, keep_workspaces=keep)
    return _view(member, await _known(request, [member]))


@router.delete("/{member_id}", status_code=status.HTTP_204_NO_CONTENT)
async def remove(member_id: uuid.UUID, access: _Managing) -> None:
    """Have somebody be a member no longer, from their next request on.

    API keys that they made are revoked and open invitations that they sent taken back, also those that such keys made
    or sent. They stay logged in, without this tenant. All else that they made is the tenant's and stays.
    """
    await end_membership(access.session, access.scope, member_id)


async def _known(request: Request, members: Sequence[Membership]) -> Mapping[uuid.UUID, Person]:
    async with parts_of(request).people.transaction() as session:
        return await people_of(session, (member.person_id for member in members))


def _view(member: Membership, known: Mapping[uuid.UUID, Person]) -> MemberView:
    who = known[member.person_id]
    return MemberView(
        id=member.id,
        person_id=member.person_id,
        email=who.email,
        name=who.name,
        role=Role(member.role),
        workspaces=member.workspaces,
        created_at=member.created_at,
    )
