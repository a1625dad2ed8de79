"""What was done in a tenant: who, what, to which row, from where."""

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Row

from control_plane.audit.record import DeedFilter, list_newest
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.written_time import WrittenTime
from control_plane.tenancy.permissions import Permission

router = APIRouter(prefix="/audit", tags=["audit"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_AUDIT)]
# PostgreSQL keeps no NUL in text.
_Whole = Annotated[str | None, Query(max_length=300, pattern=r"^[^\x00]*$", description="As a deed shows it.")]


@dataclass(frozen=True, slots=True)
class DeedQuery:
    """What is known of the deeds; all of it must be true of each."""

    actor: _Whole = None
    act: _Whole = None
    start: Annotated[WrittenTime | None, Query(alias="from")] = None
    end: Annotated[WrittenTime | None, Query(alias="to", description="Those before it.")] = None


class DeedView(BaseModel):
    """A deed; `hash` is SHA-256 over the hash before it and the deed, so that none can be altered or taken away."""

    position: int
    at: dt.datetime
    actor: str
    act: str = Field(examples=["DELETE /webhooks/{webhook_id}"])
    subject: dict[str, Any]
    fields: list[str] = Field(description="Names of what was given; never values.")
    address: str | None
    request_id: str | None
    previous_hash: str
    hash: str


class DeedList(BaseModel):
    """A page of deeds; `next` is what to send as `after` for the page that follows."""

    items: list[DeedView]
    next: str | None


@router.get("")
async def list_all(access: _Reading, wanted: Annotated[DeedQuery, Depends()], page: TenantsPage) -> DeedList:
    """List what was done in the tenant, newest first. Sends are not among it: each has its timeline."""
    before = None if page.place is None else int(page.place)
    known = DeedFilter(wanted.actor, wanted.act, wanted.start, wanted.end)
    rows = await list_newest(access.session, access.scope.tenant_id, known, before, page.limit)
    return DeedList(items=[_view(row) for row in rows], next=page.next_after([row.position for row in rows]))


def _view(row: Row[Any]) -> DeedView:
    return DeedView(
        position=row.position,
        at=row.at,
        actor=row.actor,
        act=row.act,
        subject=row.subject,
        fields=row.fields,
        address=row.address,
        request_id=row.request_id,
        previous_hash=row.previous_hash.hex(),
        hash=row.hash.hex(),
    )
