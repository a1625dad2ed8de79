"""Logging in and out, refreshing, and changing to another tenant."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel

from control_plane.identity.access_tokens import Claims
from control_plane.people import sessions
from control_plane.people.log_in import SecondStep, log_in, second_step, who_is_asked
from control_plane.people.sessions import OpenSession
from control_plane.rest.access import anybody, person
from control_plane.rest.auth.bodies import (
    Body,
    Code,
    EmailText,
    PresentedPassword,
    Token,
    Tokens,
    address_text,
    count_attempt,
    origin_of,
    people_of,
)
from control_plane.rest.auth.repeats import begin_of_stranger
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(prefix="/auth", tags=["auth"], route_class=StrictRoute)

_Person = Annotated[Claims, person()]


class LoginBody(Body):
    """An address and its password; without a tenant, the one that the person has been in longest."""

    email: EmailText
    password: PresentedPassword
    tenant_id: uuid.UUID | None = None


class SecondStepBody(Body):
    """What the first step gave, and a code of the authenticator or a recovery code."""

    token: Token
    code: Code
    tenant_id: uuid.UUID | None = None


class RefreshBody(Body):
    """The refresh token that came last."""

    refresh_token: Token


class SwitchBody(Body):
    """Another tenant that the person is in."""

    tenant_id: uuid.UUID


class SecondStepAsked(BaseModel):
    """The password was right; send this with a code to /auth/login/second-step within five minutes.

    Where a passkey will do as well: to /auth/login/second-step/passkey:begin.
    """

    second_step_token: str
    passkey: bool


class AccessTokenView(BaseModel):
    """An access token for the tenant that the session works in now."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    tenant_id: uuid.UUID


@router.post("/login", dependencies=[anybody()])
async def first(body: LoginBody, request: Request, response: Response) -> Tokens | SecondStepAsked:
    """Log in; somebody with an authenticator is asked for a code next."""
    people, email = people_of(request), address_text(body.email)
    await count_attempt(request, "log-in", email)
    await begin_of_stranger(request)
    outcome = await log_in(people, email, body.password.get_secret_value(), body.tenant_id, origin_of(request))
    if isinstance(outcome, SecondStep):
        response.headers["Cache-Control"] = "no-store"
        return SecondStepAsked(second_step_token=outcome.token, passkey=outcome.by_passkey)
    return await Tokens.of(people, outcome, response)


@router.post("/login/second-step", dependencies=[anybody()])
async def second(body: SecondStepBody, request: Request, response: Response) -> Tokens:
    """Show a code; each is good once."""
    people = people_of(request)
    await begin_of_stranger(request)
    await count_attempt(request, "second step", str(await who_is_asked(people, body.token)))
    opened = await second_step(people, body.token, body.code, body.tenant_id, origin_of(request))
    return await Tokens.of(people, opened, response)


@router.post("/refresh", dependencies=[anybody()])
async def refresh(body: RefreshBody, request: Request, response: Response) -> Tokens:
    """Get the next tokens. A refresh token that comes a second time ends the session, under an Idempotency-Key too."""
    people = people_of(request)
    async with people.transaction() as session:
        outcome = await sessions.carry_on(session, body.refresh_token, origin_of(request), people.clock())
    if isinstance(outcome, OpenSession):
        return await Tokens.of(people, outcome, response)
    if outcome is not None:
        await people.states.note_end([outcome])
    raise sessions.not_carried_on()


@router.post("/switch")
async def switch(body: SwitchBody, request: Request, response: Response, who: _Person) -> AccessTokenView:
    """Go on in another tenant, with the same session."""
    people = people_of(request)
    async with people.transaction() as session:
        await sessions.switch(session, who.session_id, body.tenant_id)
    response.headers["Cache-Control"] = "no-store"
    opened = OpenSession(who.session_id, who.person_id, body.tenant_id, "")
    return AccessTokenView(access_token=await people.access_token(opened), tenant_id=body.tenant_id)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
async def log_out(request: Request, who: _Person) -> None:
    """End the session, at once."""
    people = people_of(request)
    async with people.transaction() as session:
        await sessions.log_out(session, who.person_id, who.session_id, origin_of(request), people.clock())
    await people.states.note_end([who.session_id])
