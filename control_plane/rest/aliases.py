"""Aliases of an inbox: list, add, remove."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, ConfigDict, Field

from control_plane.inboxes.addresses import parse_mailbox_address
from control_plane.provisioning.aliases import add_alias, list_aliases, remove_alias
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission

router = APIRouter(prefix="/inboxes/{inbox_id}/aliases", tags=["inboxes"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_INBOXES)]


class NewAlias(BaseModel):
    """A further address of the inbox, in its own domain."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"email_address": "orders@shop.example"}})

    email_address: str = Field(max_length=320)


class AliasView(BaseModel):
    """An address whose mail the inbox gets, and which it may send as when it submits mail itself."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    inbox_id: uuid.UUID
    email_address: str
    created_at: dt.datetime


class AliasList(BaseModel):
    """A page of aliases; `next` is what to send as `after` for the page that follows."""

    items: list[AliasView]
    next: str | None


@router.get("")
async def list_of_inbox(inbox_id: uuid.UUID, access: _Reading, page: TenantsPage) -> AliasList:
    """List an inbox's aliases."""
    aliases = await list_aliases(access.session, access.scope, inbox_id, page.after, page.limit)
    return AliasList(
        items=[AliasView.model_validate(alias) for alias in aliases],
        next=page.next_after([alias.id for alias in aliases]),
    )


@router.post("", status_code=status.HTTP_201_CREATED)
async def add(inbox_id: uuid.UUID, body: NewAlias, response: Response, access: _Managing) -> AliasView:
    """Add an alias; the inbox's server takes mail for it a moment later. 409 when the address is in use."""
    address = parse_mailbox_address(body.email_address, "/email_address")
    made = AliasView.model_validate(await add_alias(access.session, access.scope, inbox_id, address))
    response.headers["Location"] = f"/api/v1/inboxes/{inbox_id}/aliases/{made.id}"
    return made


@router.delete("/{alias_id}", status_code=status.HTTP_204_NO_CONTENT)
async def remove(inbox_id: uuid.UUID, alias_id: uuid.UUID, access: _Managing) -> None:
    """Remove an alias; the inbox's server refuses mail for it a moment later."""
    await remove_alias(access.session, access.scope, inbox_id, alias_id)
