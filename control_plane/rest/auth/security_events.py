"""What happened to one's account: log-ins, also those that failed, ends of sessions, and what opens it."""

import datetime as dt
import ipaddress
import uuid
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from control_plane.identity.access_tokens import Claims
from control_plane.people.security_events import Happened, list_newest
from control_plane.rest.access import person
from control_plane.rest.auth.bodies import people_of
from control_plane.rest.pages import DEFAULT_PAGE, After, Limit, listing_of, page_of
from control_plane.rest.versioned_route import VersionedRoute

router = APIRouter(prefix="/auth/events", tags=["auth"], route_class=VersionedRoute)

_Person = Annotated[Claims, person()]


class SecurityEventView(BaseModel):
    """Something that happened; `about` names the passkey or the issuer, and address and program are whose doing it was.

    `session_id` is of the session that began or ended.
    """

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    at: dt.datetime
    kind: Happened
    session_id: uuid.UUID | None
    about: str | None
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    user_agent: str


class SecurityEventList(BaseModel):
    """A page of what happened; `next` is what to send as `after` for the page that follows."""

    items: list[SecurityEventView]
    next: str | None


@router.get("")
async def list_own(
    request: Request, who: _Person, after: After = None, limit: Limit = DEFAULT_PAGE
) -> SecurityEventList:
    """List what happened to one's account in the last 180 days, newest first."""
    page = page_of(listing_of(request, who.person_id), after, limit)
    async with people_of(request).transaction() as session:
        rows = await list_newest(session, who.person_id, page.after, page.limit)
    return SecurityEventList(
        items=[SecurityEventView.model_validate(row) for row in rows], next=page.next_after([row.id for row in rows])
    )
