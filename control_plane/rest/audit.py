"""What was done in a tenant: who, what, to which row, from where."""

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from control_plane.audit.record import list_newest
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import DEFAULT_PAGE, Limit
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from db.models import AuditEvent

router = APIRouter(prefix="/audit", tags=["audit"], route_class=ResourceRoute)

#: As far as the column goes.
_LAST_POSITION = 2**63 - 1

_Reading = Annotated[Access, transaction(Permission.READ_AUDIT)]
_After = Annotated[int | None, Query(ge=1, le=_LAST_POSITION, description="A position: deeds before it.")]


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
    next: int | None


@router.get("")
async def list_all(access: _Reading, after: _After = None, limit: Limit = DEFAULT_PAGE) -> DeedList:
    """List what was done in the tenant, newest first. Sends are not among it: each has its timeline."""
    rows = await list_newest(access.session, access.scope.tenant_id, after, limit)
    return DeedList(items=[_view(row) for row in rows], next=rows[-1].position if len(rows) == limit else None)


def _view(row: AuditEvent) -> DeedView:
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
