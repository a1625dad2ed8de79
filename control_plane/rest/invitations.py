"""Invitations into the tenant, each for one address."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, ConfigDict

from control_plane.people import letters
from control_plane.rest.access import Access, identity, transaction
from control_plane.rest.auth.bodies import Body, EmailText, address_text
from control_plane.rest.pages import TenantsPage
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.workspaces import Workspaces
from control_plane.tenancy.members import Place, invite, list_invitations, load_invitation, take_back
from control_plane.tenancy.permissions import Permission, Role
from control_plane.tenancy.scope import TenantScope

router = APIRouter(prefix="/invitations", tags=["members"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_MEMBERS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_MEMBERS)]
#: A letter is sent once the row is there, and no transaction waits for it.
_Inviting = Annotated[TenantScope, identity(Permission.MANAGE_MEMBERS)]


class InvitationBody(Body):
    """Whom to invite, and as what."""

    email: EmailText
    role: Role
    workspaces: Workspaces = None


class InvitationView(BaseModel):
    """An invitation; what is in force was neither accepted nor revoked and has not expired."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    email: str
    role: Role
    workspaces: list[uuid.UUID] | None
    invited_by: str
    created_at: dt.datetime
    expires_at: dt.datetime
    accepted_at: dt.datetime | None
    revoked_at: dt.datetime | None


class InvitationList(BaseModel):
    """A page of invitations; `next` is what to send as `after` for the page that follows."""

    items: list[InvitationView]
    next: str | None


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: InvitationBody, request: Request, response: Response, scope: _Inviting) -> InvitationView:
    """Invite somebody by a letter to their address. An earlier invitation of the address is taken back.

    When the letter cannot be sent, the invitation stands without one: invite again.
    """
    parts = parts_of(request)
    post, email = parts.people.post, address_text(body.email)
    async with parts.database.tenant(scope.reach) as session:
        made = await invite(session, scope, email, Place(body.role, body.workspaces), parts.clock())
        view = InvitationView.model_validate(await load_invitation(session, scope, made.id))
    await post.send(letters.invitation(email, parts.people.public_url, made.token, made.tenant_name))
    response.headers["Location"] = f"/api/v1/invitations/{made.id}"
    return view


@router.get("")
async def list_all(access: _Reading, page: TenantsPage) -> InvitationList:
    """List the tenant's invitations, also those out of force."""
    rows = await list_invitations(access.session, access.scope, page.after, page.limit)
    return InvitationList(
        items=[InvitationView.model_validate(row) for row in rows], next=page.next_after([row.id for row in rows])
    )


@router.get("/{invitation_id}")
async def show(invitation_id: uuid.UUID, access: _Reading) -> InvitationView:
    """Show an invitation."""
    return InvitationView.model_validate(await load_invitation(access.session, access.scope, invitation_id))


@router.delete("/{invitation_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke(invitation_id: uuid.UUID, access: _Managing) -> None:
    """Take an invitation back."""
    await take_back(access.session, access.scope, invitation_id)
