"""Who one is, and the sessions that one has."""

import datetime as dt
import ipaddress
import uuid
from typing import Annotated

from fastapi import APIRouter, Request, status
from pydantic import BaseModel, ConfigDict

from control_plane.identity.access_tokens import Claims
from control_plane.people import second_factor, sessions
from control_plane.people.who import load_person, tenants_of
from control_plane.rest.access import person
from control_plane.rest.auth.bodies import origin_of, people_of
from control_plane.rest.pages import DEFAULT_PAGE, After, Limit, in_time, listing_of, page_of
from control_plane.rest.versioned_route import VersionedRoute

router = APIRouter(prefix="/auth", tags=["auth"], route_class=VersionedRoute)

_Person = Annotated[Claims, person()]


class TenantOfPersonView(BaseModel):
    """A tenant that one is in, and as what."""

    model_config = ConfigDict(from_attributes=True)

    tenant_id: uuid.UUID
    name: str
    role: str


class PersonView(BaseModel):
    """Oneself; `tenant_id` is where the access token works."""

    id: uuid.UUID
    email: str
    name: str
    created_at: dt.datetime
    second_factor: bool
    tenant_id: uuid.UUID | None
    tenants: list[TenantOfPersonView]


class SessionView(BaseModel):
    """A session that goes on."""

    id: uuid.UUID
    current: bool
    created_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    user_agent: str
    second_factor: bool


class SessionList(BaseModel):
    """A page of sessions; `next` is what to send as `after` for the page that follows."""

    items: list[SessionView]
    next: str | None


@router.get("/me")
async def show_oneself(request: Request, who: _Person) -> PersonView:
    """Show who one is and which tenants one is in."""
    async with people_of(request).transaction() as session:
        found = await load_person(session, who.person_id)
        tenants = await tenants_of(session, who.person_id)
        return PersonView(
            id=found.id,
            email=found.email,
            name=found.name,
            created_at=found.created_at,
            second_factor=await second_factor.is_on(session, who.person_id),
            tenant_id=who.tenant_id,
            tenants=[TenantOfPersonView.model_validate(each) for each in tenants],
        )


@router.get("/sessions")
async def list_own(request: Request, who: _Person, after: After = None, limit: Limit = DEFAULT_PAGE) -> SessionList:
    """List one's sessions that go on, newest first."""
    people = people_of(request)
    page = page_of(listing_of(request, who.person_id), after, limit)
    async with people.transaction() as session:
        rows = await sessions.list_live(session, who.person_id, people.clock(), page.behind(uuid.UUID), page.limit)
    return SessionList(
        items=[
            SessionView(
                id=row.id,
                current=row.id == who.session_id,
                created_at=row.created_at,
                last_used_at=row.last_used_at,
                expires_at=row.expires_at,
                address=row.address,
                user_agent=row.user_agent,
                second_factor=row.second_factor,
            )
            for row in rows
        ],
        next=page.next_after([in_time(row.created_at, row.id) for row in rows]),
    )


@router.delete("/sessions/{session_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke(session_id: uuid.UUID, request: Request, who: _Person) -> None:
    """End one of one's sessions, at once; its access tokens open nothing from then on."""
    people = people_of(request)
    async with people.transaction() as session:
        await sessions.revoke(session, who.person_id, session_id, origin_of(request), people.clock())
    await people.states.note_end([session_id])
