"""Suppressions: the addresses that a tenant's mail is not sent to."""

import datetime as dt
import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response, status
from pydantic import BaseModel, ConfigDict, Field

from control_plane.messages.suppressions import (
    Reason,
    Source,
    SuppressionFilter,
    address_on_list,
    list_suppressions,
    load_suppression,
    remove_suppression,
    suppress,
)
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission

router = APIRouter(prefix="/suppressions", tags=["suppressions"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SUPPRESSIONS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_SUPPRESSIONS)]
_Address = Annotated[str | None, Query(max_length=320, description="An address, in any case of letters.")]


class NewSuppression(BaseModel):
    """An address to send nothing to."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"address": "anna@example.net"}})

    address: str = Field(max_length=320)
    reason: Literal[Reason.MANUAL, Reason.COMPLAINT, Reason.UNSUBSCRIBE] = Reason.MANUAL


class SuppressionView(BaseModel):
    """A suppression; `address` is in lower case, or `hmac-sha256:` and a keyed hash once it was erased."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    address: str = Field(examples=["anna@example.net"])
    reason: str = Field(examples=[Reason.HARD_BOUNCE.value])
    source: str = Field(examples=[Source.DELIVERY.value])
    created_at: dt.datetime


class SuppressionList(BaseModel):
    """A page of suppressions; `next` is what to send as `after` for the page that follows."""

    items: list[SuppressionView]
    next: str | None


@router.post("", status_code=status.HTTP_201_CREATED)
async def add(body: NewSuppression, response: Response, access: _Managing) -> SuppressionView:
    """Suppress an address. One that is suppressed already is shown as it is."""
    address = address_on_list(body.address, "/address")
    (made,) = await suppress(access.session, access.scope, [address], body.reason, Source.API)
    response.headers["Location"] = f"/api/v1/suppressions/{made.id}"
    return SuppressionView.model_validate(made)


@router.get("")
async def list_all(
    access: _Reading,
    page: TenantsPage,
    reason: Reason | None = None,
    source: Source | None = None,
    address: _Address = None,
) -> SuppressionList:
    """List what is suppressed. What bounces for good is put here by itself; an erased address is not found by it."""
    named = None if address is None else address_on_list(address, "query/address")
    wanted = SuppressionFilter(reason, source, named)
    found = await list_suppressions(access.session, access.scope, wanted, page.after, page.limit)
    items = [SuppressionView.model_validate(each) for each in found]
    return SuppressionList(items=items, next=page.next_after([item.id for item in items]))


@router.get("/{suppression_id}")
async def show(suppression_id: uuid.UUID, access: _Reading) -> SuppressionView:
    """Show one."""
    return SuppressionView.model_validate(await load_suppression(access.session, access.scope, suppression_id))


@router.delete("/{suppression_id}", status_code=status.HTTP_204_NO_CONTENT)
async def remove(suppression_id: uuid.UUID, access: _Managing) -> None:
    """Take one off the list: messages to it are sent again."""
    await remove_suppression(access.session, access.scope, suppression_id)
