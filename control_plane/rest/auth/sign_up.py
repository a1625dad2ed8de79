"""Signing up, and answering the letter that follows."""

import uuid

from fastapi import APIRouter, Request, status
from pydantic import BaseModel

from control_plane.errors import InvalidInput
from control_plane.people import letters, sign_up
from control_plane.people.sign_up import Wanted
from control_plane.rest.access import anybody
from control_plane.rest.auth.bodies import (
    Body,
    EmailText,
    Name,
    Password,
    Token,
    address_text,
    count_attempt,
    people_of,
    record_joining,
)
from control_plane.rest.auth.repeats import begin_of_stranger
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(prefix="/auth", tags=["auth"], route_class=StrictRoute)


class SignUpBody(Body):
    """A person to be, with a tenant of their own or an invitation into another's."""

    email: EmailText
    password: Password
    name: Name
    tenant_name: Name | None = None
    invitation: Token | None = None


class VerifyBody(Body):
    """The code of the letter."""

    token: Token


class Asked(BaseModel):
    """The same whether the address is known or not: what is true stands in the letter."""

    status: str = "a letter is on its way"


class JoinedView(BaseModel):
    """A person, and the tenant that they are in now. Logging in comes next."""

    person_id: uuid.UUID
    tenant_id: uuid.UUID


@router.post("/sign-up", status_code=status.HTTP_202_ACCEPTED, dependencies=[anybody()])
async def ask(body: SignUpBody, request: Request) -> Asked:
    """Ask for an account. A letter with a code goes to the address; nothing else happens until it is answered."""
    people = people_of(request)
    post = people.post
    if (body.tenant_name is None) == (body.invitation is None):
        raise InvalidInput("Say either the tenant's name or an invitation.", "/tenant_name")
    email = address_text(body.email)
    await count_attempt(request, "sign-up", email)
    await begin_of_stranger(request)
    password_hash = await people.passwords.hash(body.password.get_secret_value())
    wanted = Wanted(email, body.name, password_hash, body.tenant_name, body.invitation)
    async with people.transaction() as session:
        token = await sign_up.ask(session, wanted, people.clock())
    if token is None:
        await post.send(letters.already_known(email, people.public_url))
    else:
        await post.send(letters.verify_address(email, people.public_url, token))
    return Asked()


@router.post("/verify-email", status_code=status.HTTP_201_CREATED, dependencies=[anybody()])
async def verify(body: VerifyBody, request: Request) -> JoinedView:
    """Answer the letter: the person is made, and the tenant or the membership."""
    await begin_of_stranger(request)
    people = people_of(request)
    async with people.transaction() as session:
        joined = await sign_up.verify(session, body.token, people.clock())
    await record_joining(request, joined.tenant_id, joined.person_id)
    return JoinedView(person_id=joined.person_id, tenant_id=joined.tenant_id)
