"""Logging in by a passkey, alone or as the second step."""

import uuid

from fastapi import APIRouter, Request, Response

from control_plane.people import passkey_log_in
from control_plane.people.log_in import who_is_asked
from control_plane.rest.access import anybody
from control_plane.rest.auth.bodies import (
    Body,
    Token,
    Tokens,
    count_attempt,
    count_attempt_of_address,
    origin_of,
    people_of,
)
from control_plane.rest.auth.passkey_bodies import AnsweredCredential, PasskeyOptions
from control_plane.rest.auth.repeats import begin_of_stranger
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(prefix="/auth/login", tags=["auth"], route_class=StrictRoute)


class AnsweredBody(Body):
    """What the browser answered; without a tenant, the one that the person has been in longest."""

    credential: AnsweredCredential
    tenant_id: uuid.UUID | None = None


class SecondStepBody(Body):
    """What the first step gave."""

    token: Token


class AnsweredSecondStepBody(AnsweredBody):
    """What the first step gave, and what the browser answered."""

    token: Token


@router.post("/passkey:begin", dependencies=[anybody()])
async def begin(request: Request, response: Response) -> PasskeyOptions:
    """Ask for any passkey; the answer goes to /auth/login/passkey:finish within five minutes."""
    await count_attempt_of_address(request, "passkey asked for")
    response.headers["Cache-Control"] = "no-store"
    return PasskeyOptions(options=dict(await passkey_log_in.ask_anybody(people_of(request))))


@router.post("/passkey:finish", dependencies=[anybody()])
async def finish(body: AnsweredBody, request: Request, response: Response) -> Tokens:
    """Log in. The authenticator has verified its person, so no other step follows."""
    people = people_of(request)
    await count_attempt(request, "passkey", body.credential.id)
    await begin_of_stranger(request)
    opened = await passkey_log_in.log_in(people, body.credential.as_json(), body.tenant_id, origin_of(request))
    return await Tokens.of(people, opened, response)


@router.post("/second-step/passkey:begin", dependencies=[anybody()])
async def begin_second_step(body: SecondStepBody, request: Request, response: Response) -> PasskeyOptions:
    """Ask for one of the person's passkeys after their password."""
    people = people_of(request)
    await begin_of_stranger(request)
    person_id = await who_is_asked(people, body.token)
    await count_attempt(request, "passkey asked for", str(person_id))
    response.headers["Cache-Control"] = "no-store"
    return PasskeyOptions(options=dict(await passkey_log_in.ask_second_step(people, person_id)))


@router.post("/second-step/passkey:finish", dependencies=[anybody()])
async def finish_second_step(body: AnsweredSecondStepBody, request: Request, response: Response) -> Tokens:
    """Show a passkey in place of a code."""
    people = people_of(request)
    await begin_of_stranger(request)
    await count_attempt(request, "second step", str(await who_is_asked(people, body.token)))
    credential = body.credential.as_json()
    opened = await passkey_log_in.second_step(people, body.token, credential, body.tenant_id, origin_of(request))
    return await Tokens.of(people, opened, response)
