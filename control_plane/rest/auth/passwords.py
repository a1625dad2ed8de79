"""A forgotten password, and another in place of the present one."""

import logging
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Request, status
from pydantic import BaseModel

from control_plane.errors import InvalidInput, PenguinError
from control_plane.identity.access_tokens import Claims
from control_plane.people import letters, one_time_tokens
from control_plane.people.log_in import forget_password, set_password, verified
from control_plane.people.one_time_tokens import Purpose
from control_plane.people.people import People
from control_plane.people.post import Letter, Post
from control_plane.people.security_events import Happened, note
from control_plane.people.sessions import end_others
from control_plane.people.who import load_person
from control_plane.rest.access import anybody, person
from control_plane.rest.auth.bodies import (
    Body,
    EmailText,
    Password,
    PresentedPassword,
    Token,
    address_text,
    count_attempt,
    origin_of,
    people_of,
)
from control_plane.rest.auth.repeats import begin_of_stranger
from control_plane.rest.kept_answers import is_repeatable
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(prefix="/auth/password", tags=["auth"], route_class=StrictRoute)

_Person = Annotated[Claims, person()]
_log = logging.getLogger(__name__)


class ForgotBody(Body):
    """Whose password is forgotten."""

    email: EmailText


class ResetBody(Body):
    """The code of the letter, and the new password."""

    token: Token
    password: Password


class ChangeBody(Body):
    """The present password and the new one."""

    current_password: PresentedPassword
    password: Password


class Asked(BaseModel):
    """The same whether the address is known or not."""

    status: str = "if there is such an account, a letter is on its way"


@router.post("/forgot", status_code=status.HTTP_202_ACCEPTED, dependencies=[anybody()])
async def forgot(body: ForgotBody, request: Request, later: BackgroundTasks) -> Asked:
    """Have a letter with a code sent. All that depends on the address is done after the answer."""
    people, email = people_of(request), address_text(body.email)
    post = people.post
    await count_attempt(request, "forgotten password", email)
    await begin_of_stranger(request)
    later.add_task(_send_reset, people, post, email)
    return Asked()


@router.post("/reset", status_code=status.HTTP_204_NO_CONTENT, dependencies=[anybody()])
async def reset(body: ResetBody, request: Request, later: BackgroundTasks) -> None:
    """Set a new password with the code of the letter. All sessions end."""
    if is_repeatable(request):
        # A code that is spent still finds the answer, by which a password could be tried.
        await count_attempt(request, "password reset", body.token)
    await begin_of_stranger(request)
    people = people_of(request)
    password_hash = await people.passwords.hash(body.password.get_secret_value())
    now = people.clock()
    async with people.transaction() as session:
        person_id = await one_time_tokens.burn(session, body.token, Purpose.RESET_PASSWORD, now)
        if person_id is None:
            raise InvalidInput("The code is not in force; ask for another.", "/token")
        await set_password(session, person_id, password_hash, now)
        await note(session, person_id, Happened.PASSWORD_RESET, origin_of(request), now)
        ended = await end_others(session, person_id, None, "password-changed", now)
        email = (await load_person(session, person_id)).email
    await people.states.note_end(ended)
    later.add_task(_send, people.post, letters.password_changed(email))


@router.post("/change", status_code=status.HTTP_204_NO_CONTENT)
async def change(body: ChangeBody, request: Request, who: _Person, later: BackgroundTasks) -> None:
    """Set a new password in place of the present one. All other sessions end."""
    people = people_of(request)
    async with people.transaction() as session:
        email = (await load_person(session, who.person_id)).email
    await count_attempt(request, "log-in", email)
    await verified(people, email, body.current_password.get_secret_value(), origin_of(request))
    password_hash = await people.passwords.hash(body.password.get_secret_value())
    now = people.clock()
    async with people.transaction() as session:
        await set_password(session, who.person_id, password_hash, now)
        await note(session, who.person_id, Happened.PASSWORD_CHANGED, origin_of(request), now)
        ended = await end_others(session, who.person_id, who.session_id, "password-changed", now)
    await people.states.note_end(ended)
    later.add_task(_send, people.post, letters.password_changed(email))


async def _send_reset(people: People, post: Post, email: str) -> None:
    token = await forget_password(people, email)
    if token is not None:
        await _send(post, letters.reset_password(email, people.public_url, token))


async def _send(post: Post, letter: Letter) -> None:
    """Send what nobody waits for; that it was not sent stands in the log, without whose it is."""
    try:
        await post.send(letter)
    except PenguinError as error:
        _log.warning("a letter was not sent: %s", error)
