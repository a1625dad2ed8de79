"""What several routes of log-in take and answer, the attempts that they count, and what they write down in tenants."""

import uuid
from typing import Annotated, Literal, Self

from fastapi import Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from control_plane.identity.access_tokens import LIFETIME
from control_plane.identity.networks import address_of
from control_plane.identity.person_passwords import LONGEST, SHORTEST
from control_plane.inboxes.addresses import MAX_ADDRESS, parse_address
from control_plane.people.origins import Origin
from control_plane.people.people import People
from control_plane.people.sessions import OpenSession
from control_plane.rest.audited_deeds import record_persons_deed
from control_plane.rest.parts import parts_of
from control_plane.rest.rates import LOGINS_OF_ACCOUNT, LOGINS_OF_ADDRESS

EmailText = Annotated[str, Field(min_length=3, max_length=MAX_ADDRESS, examples=["anna@example.net"])]
Password = Annotated[SecretStr, Field(min_length=SHORTEST, max_length=LONGEST)]
#: One that is only compared is not told what it would have to be like.
PresentedPassword = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST)]
Token = Annotated[str, StringConstraints(min_length=20, max_length=100, pattern="^[a-z0-9_]+$")]
Code = Annotated[str, StringConstraints(pattern="^([0-9]{6}|[A-Za-z2-7]{16})$")]


def _printable(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("a name is made of printable characters")
    return name.strip()


Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]


class Body(BaseModel):
    """A body that takes nothing but what it names."""

    model_config = ConfigDict(extra="forbid")


class Tokens(BaseModel):
    """What a session is worked with; `expires_in` of the access token, in seconds. Each refresh token is good once."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int
    refresh_token: str
    session_id: uuid.UUID
    tenant_id: uuid.UUID | None

    @classmethod
    async def of(cls, people: People, opened: OpenSession, response: Response) -> Self:
        """Return the tokens of a session; nobody between us keeps them."""
        response.headers["Cache-Control"] = "no-store"
        return cls(
            access_token=await people.access_token(opened),
            expires_in=int(LIFETIME.total_seconds()),
            refresh_token=opened.refresh_token,
            session_id=opened.id,
            tenant_id=opened.working_in,
        )


def people_of(request: Request) -> People:
    """Return what log-in works with."""
    return parts_of(request).people


def address_text(email: str) -> str:
    """Return an address in the one form in which people are known; raise `InvalidInput`."""
    return str(parse_address(email, "/email")).lower()


def origin_of(request: Request) -> Origin:
    """Return where a request comes from."""
    host = request.client.host if request.client else None
    return Origin(address_of(host), request.headers.get("user-agent", ""))


async def record_joining(request: Request, tenant_id: uuid.UUID, person_id: uuid.UUID) -> None:
    """Write down in a tenant that somebody came: right after, for the role that lets them in writes nothing there."""
    parts = parts_of(request)
    async with parts.database.tenant_connection(tenant_id) as connection:
        await record_persons_deed(request, parts.clock, connection, tenant_id, person_id)


async def count_attempt(request: Request, what: str, account: str) -> None:
    """Count one attempt; raise `TooManyRequests`, and `Unavailable` when it cannot be counted."""
    await count_attempt_of_address(request, what)
    await parts_of(request).limiter.take_strictly(LOGINS_OF_ACCOUNT, what, account)


async def count_attempt_of_address(request: Request, what: str) -> None:
    """Count one attempt that is for no account yet; raise the same."""
    host = request.client.host if request.client else "unknown"
    await parts_of(request).limiter.take_strictly(LOGINS_OF_ADDRESS, what, host)
