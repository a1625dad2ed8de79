"""An authenticator as the second step of logging in: taken up, confirmed by a code of it, taken away."""

from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, StringConstraints

from control_plane.identity.access_tokens import Claims
from control_plane.identity.totp import totp_uri
from control_plane.people import second_factor
from control_plane.people.log_in import verified
from control_plane.people.security_events import Happened, note
from control_plane.people.who import load_person
from control_plane.rest.access import person
from control_plane.rest.auth.bodies import Body, PresentedPassword, count_attempt, origin_of, people_of
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(prefix="/auth/totp", tags=["auth"], route_class=StrictRoute)

_Person = Annotated[Claims, person()]
_ISSUER = "PenguinMails"


class PasswordBody(Body):
    """The present password: a session that was left open is not enough for this."""

    password: PresentedPassword


class ConfirmBody(Body):
    """A code that the authenticator shows now."""

    code: Annotated[str, StringConstraints(pattern="^[0-9]{6}$")]


class Enrolment(BaseModel):
    """What the authenticator is told, as text or as a QR code of `uri`. It is shown here and never again."""

    secret: str
    uri: str


class RecoveryCodes(BaseModel):
    """Codes that stand for the authenticator once each. They are shown here and never again."""

    recovery_codes: list[str]


@router.post("", status_code=status.HTTP_201_CREATED)
async def enrol(body: PasswordBody, request: Request, response: Response, who: _Person) -> Enrolment:
    """Take up an authenticator; logging in asks for it once a code of it was shown."""
    people, email = people_of(request), await verified_email(request, who, body)
    async with people.transaction() as session:
        secret = await second_factor.enrol(session, people.sealer, who.person_id, people.clock())
    response.headers["Cache-Control"] = "no-store"
    return Enrolment(secret=secret, uri=totp_uri(secret, email, _ISSUER))


@router.post("/confirm")
async def confirm(body: ConfirmBody, request: Request, response: Response, who: _Person) -> RecoveryCodes:
    """Show a code of the authenticator, and get the recovery codes."""
    people = people_of(request)
    await count_attempt(request, "second step", str(who.person_id))
    async with people.transaction() as session:
        now = people.clock()
        codes = await second_factor.confirm(session, people.sealer, who.person_id, body.code, now)
        await note(session, who.person_id, Happened.AUTHENTICATOR_ADDED, origin_of(request), now)
    response.headers["Cache-Control"] = "no-store"
    return RecoveryCodes(recovery_codes=list(codes))


@router.post("/disable", status_code=status.HTTP_204_NO_CONTENT)
async def disable(body: PasswordBody, request: Request, who: _Person) -> None:
    """Do without an authenticator from now on."""
    await verified_email(request, who, body)
    people = people_of(request)
    async with people.transaction() as session:
        await second_factor.take_away(session, who.person_id, origin_of(request), people.clock())


async def verified_email(request: Request, who: Claims, body: PasswordBody) -> str:
    """Return the caller's address; raise `Unauthenticated` unless the password is theirs. An attempt is counted."""
    people = people_of(request)
    async with people.transaction() as session:
        email = (await load_person(session, who.person_id)).email
    await count_attempt(request, "log-in", email)
    await verified(people, email, body.password.get_secret_value(), origin_of(request))
    return email
