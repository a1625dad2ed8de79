"""API keys, as a tenant makes and revokes them."""

import datetime as dt
import ipaddress
import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator

from control_plane.errors import InvalidInput
from control_plane.identity.api_keys import KeyBounds
from control_plane.identity.networks import parse_network
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.workspaces import Workspaces
from control_plane.rest.written_time import WrittenTime
from control_plane.ses.signing_secrets import keep_signing_secret
from control_plane.tenancy.keys import WantedKey, list_keys, load_key, make_key, revoke_key
from control_plane.tenancy.permissions import ROLES, Permission, Role, permissions_within
from control_plane.tenancy.scope import TenantScope
from db.models import ApiKeyRow

router = APIRouter(prefix="/api-keys", tags=["api-keys"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_API_KEYS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_API_KEYS)]

_Prefix = Annotated[str, Query(max_length=32, pattern="^[a-z2-7]*$", description="How the shown part begins.")]


class NewKeyBody(BaseModel):
    """A key to make, with the scopes that are named or with those of a role."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=255)
    scopes: frozenset[Permission] | None = Field(None, min_length=1)
    role: Role | None = None
    expires_at: WrittenTime | None = None
    networks: list[Annotated[str, Field(max_length=50)]] = Field(
        default_factory=list, max_length=100, description="Where it may be used from, such as 192.0.2.0/24."
    )
    workspaces: Workspaces = None
    signing: StrictBool = Field(
        False, description="Whether it signs requests to /v2/email too, as AWS clients do; its secret is kept for that."
    )

    @field_validator("name")
    @classmethod
    def _can_be_read(cls, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise ValueError("a name is made of printable characters")
        return name.strip()


class KeyView(BaseModel):
    """A key without its secret. Without scopes it may do all that its tenant may; without networks from anywhere.

    Without workspaces it is for the whole tenant.
    """

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    prefix: str
    scopes: list[str] | None
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]
    workspaces: list[uuid.UUID] | None
    created_by: str
    created_at: dt.datetime
    last_used_at: dt.datetime | None
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


class AwsCredentials(BaseModel):
    """What an AWS client that is to speak to /v2/email is configured with."""

    model_config = ConfigDict(from_attributes=True)

    access_key_id: str
    secret_access_key: str


class KeyCreated(KeyView):
    """A new key. It is shown here and never again."""

    key: str
    aws: AwsCredentials | None


class KeyList(BaseModel):
    """A page of keys; `next` is what to send as `after` for the page that follows."""

    items: list[KeyView]
    next: str | None


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: NewKeyBody, request: Request, response: Response, access: _Managing) -> KeyCreated:
    """Make a key. It can do no more than whoever makes it, nor for longer, nor from elsewhere."""
    networks = tuple(parse_network(text, f"/networks/{place}") for place, text in enumerate(body.networks))
    bounds = KeyBounds(body.expires_at, networks)
    wanted = WantedKey(body.name, _permissions(body, access.scope), bounds, body.workspaces)
    parts = parts_of(request)
    made = await make_key(access.session, access.scope, wanted, parts.clock())
    signing = await keep_signing_secret(access.session, parts.sealer, access.scope, made) if body.signing else None
    response.headers["Location"] = f"/api/v1/api-keys/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    row: ApiKeyRow = await load_key(access.session, access.scope, made.id)
    aws = AwsCredentials.model_validate(signing) if signing else None
    return KeyCreated(**KeyView.model_validate(row).model_dump(), key=made.key, aws=aws)


@router.get("")
async def list_all(access: _Reading, page: TenantsPage, prefix: _Prefix = "") -> KeyList:
    """List the tenant's keys, also those out of force."""
    keys = await list_keys(access.session, access.scope, prefix, page.after, page.limit)
    return KeyList(items=[KeyView.model_validate(key) for key in keys], next=page.next_after([key.id for key in keys]))


@router.get("/{key_id}")
async def show(key_id: uuid.UUID, access: _Reading) -> KeyView:
    """Show a key without its secret."""
    return KeyView.model_validate(await load_key(access.session, access.scope, key_id))


@router.delete("/{key_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke(key_id: uuid.UUID, access: _Managing) -> None:
    """Put a key out of force at once."""
    await revoke_key(access.session, access.scope, key_id)


def _permissions(body: NewKeyBody, scope: TenantScope) -> frozenset[Permission]:
    if (body.scopes is None) == (body.role is None):
        raise InvalidInput("Say either scopes or a role.", "/scopes")
    if body.role is None:
        return body.scopes or frozenset()
    return permissions_within(body.workspaces or scope.workspaces, ROLES[body.role])
