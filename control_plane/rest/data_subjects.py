"""Data subjects: what a tenant has on somebody whom it wrote to, and its erasure (GDPR, articles 15 and 17)."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field

from control_plane.messages.suppressions import address_on_list
from control_plane.privacy.export import HeldMessage, HeldSuppression, HeldTold, export_data_subject
from control_plane.privacy.requests import load_erasure, request_erasure
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import LONGEST_CURSOR, listing_of_body
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission

router = APIRouter(tags=["data-subjects"], route_class=ResourceRoute)

_Managing = Annotated[Access, transaction(Permission.MANAGE_DATA_SUBJECTS)]


class DataSubject(BaseModel):
    """Somebody, by the address that mail was sent to."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"address": "anna@example.net"}})

    address: str = Field(max_length=320)


class ExportedSubject(DataSubject):
    """Whose data is wanted; `after` is `next` of the page before."""

    after: str | None = Field(None, max_length=LONGEST_CURSOR)


class HeldView(BaseModel):
    """A page of what is held; `next` is what to send as `after` for the messages that follow."""

    address: str
    messages: list[HeldMessage]
    events: list[HeldTold]
    suppressions: list[HeldSuppression]
    next: str | None


class ErasureView(BaseModel):
    """An erasure: how many messages and events of theirs were erased. Once it is finished, the address is gone too."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    address: str | None
    requested_by: str
    requested_at: dt.datetime
    finished_at: dt.datetime | None
    messages: int
    events: int


@router.post("/data-subjects:export")
async def export(body: ExportedSubject, request: Request, response: Response, access: _Managing) -> HeldView:
    """Show all that is held on a data subject: messages with their timelines, events, suppressions."""
    response.headers["Cache-Control"] = "no-store"
    address = address_on_list(body.address, "/address")
    listing = listing_of_body(request, access.scope.tenant_id, address)
    after = None if body.after is None else uuid.UUID(listing.place(body.after))
    held = await export_data_subject(access.session, access.scope, address, after)
    return HeldView(
        address=held.address,
        messages=held.messages,
        events=held.events,
        suppressions=held.suppressions,
        next=listing.cursor(held.next),
    )


@router.post("/data-subjects:erase", status_code=status.HTTP_202_ACCEPTED)
async def erase(body: DataSubject, response: Response, access: _Managing) -> ErasureView:
    """Erase all that is held on a data subject, within minutes of its last message's end.

    Nothing more is sent to them: what waits is cancelled, and the address stays suppressed, as a keyed hash.
    """
    erasure = await request_erasure(access.session, access.scope, address_on_list(body.address, "/address"))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Location"] = f"/api/v1/data-subjects/erasures/{erasure.id}"
    return ErasureView.model_validate(erasure)


@router.get("/data-subjects/erasures/{erasure_id}")
async def show_erasure(erasure_id: uuid.UUID, access: _Managing) -> ErasureView:
    """Show how far an erasure is."""
    return ErasureView.model_validate(await load_erasure(access.session, access.scope, erasure_id))
