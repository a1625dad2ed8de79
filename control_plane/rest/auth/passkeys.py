"""One's passkeys: made in two steps, listed, removed with the password."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, ConfigDict

from control_plane.identity.access_tokens import Claims
from control_plane.people import passkeys
from control_plane.rest.access import person
from control_plane.rest.auth.bodies import Body, Name, count_attempt, origin_of, people_of
from control_plane.rest.auth.passkey_bodies import NewCredential, PasskeyOptions
from control_plane.rest.auth.second_factor import PasswordBody, verified_email
from control_plane.rest.pages import DEFAULT_PAGE, After, Limit, in_time, listing_of, page_of
from control_plane.rest.versioned_route import VersionedRoute

router = APIRouter(prefix="/auth", tags=["auth"], route_class=VersionedRoute)

_Person = Annotated[Claims, person()]


class NewPasskeyBody(Body):
    """What the browser made, and what it is to be called."""

    name: Name
    credential: NewCredential


class PasskeyView(BaseModel):
    """A passkey."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    created_at: dt.datetime
    last_used_at: dt.datetime | None


class NewPasskeyView(PasskeyView):
    """A new one. With the first second factor come recovery codes, shown here and never again."""

    recovery_codes: list[str]


class PasskeyList(BaseModel):
    """A page of passkeys; `next` is what to send as `after` for the page that follows."""

    items: list[PasskeyView]
    next: str | None


@router.post("/passkeys:begin")
async def begin(body: PasswordBody, request: Request, response: Response, who: _Person) -> PasskeyOptions:
    """Ask for a passkey to be made; the answer goes to /auth/passkeys:finish within five minutes."""
    await verified_email(request, who, body)
    response.headers["Cache-Control"] = "no-store"
    return PasskeyOptions(options=dict(await passkeys.begin_registration(people_of(request), who.person_id)))


@router.post("/passkeys:finish", status_code=status.HTTP_201_CREATED)
async def finish(body: NewPasskeyBody, request: Request, response: Response, who: _Person) -> NewPasskeyView:
    """Keep a passkey. From now on it logs in by itself, and log-ins by password have a second step."""
    people = people_of(request)
    await count_attempt(request, "passkey", str(who.person_id))
    row, codes = await passkeys.register(
        people, who.person_id, body.name, body.credential.as_json(), origin_of(request)
    )
    response.headers["Cache-Control"] = "no-store"
    return NewPasskeyView(**PasskeyView.model_validate(row).model_dump(), recovery_codes=list(codes))


@router.get("/passkeys")
async def list_own(request: Request, who: _Person, after: After = None, limit: Limit = DEFAULT_PAGE) -> PasskeyList:
    """List one's passkeys, the oldest first."""
    page = page_of(listing_of(request, who.person_id), after, limit)
    async with people_of(request).transaction() as session:
        rows = await passkeys.list_of(session, who.person_id, page.behind(uuid.UUID), page.limit)
    return PasskeyList(
        items=[PasskeyView.model_validate(row) for row in rows],
        next=page.next_after([in_time(row.created_at, row.id) for row in rows]),
    )


@router.post("/passkeys/{passkey_id}/remove", status_code=status.HTTP_204_NO_CONTENT)
async def remove(passkey_id: uuid.UUID, body: PasswordBody, request: Request, who: _Person) -> None:
    """Do without a passkey from now on. It takes the password: a session that was left open is not enough."""
    people = people_of(request)
    async with people.transaction() as session:
        await passkeys.require_own(session, who.person_id, passkey_id)
    await verified_email(request, who, body)
    async with people.transaction() as session:
        await passkeys.take_away(session, who.person_id, passkey_id, origin_of(request), people.clock())
