"""Notices: the few things that a tenant should know without asking, quietly and apart from its events."""

import datetime as dt
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from control_plane.webhooks.event_types import EventType, NoticeType
from control_plane.webhooks.events import list_notices

router = APIRouter(prefix="/notices", tags=["events"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]


class NoticeView(BaseModel):
    """A notice; `subject_id` is the server or domain that it is about, the tenant for a limit."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    type: EventType
    subject_id: uuid.UUID
    workspace_id: uuid.UUID | None
    at: dt.datetime
    data: dict[str, Any]


class NoticeList(BaseModel):
    """A page of notices; `next` is what to send as `after` for the page that follows."""

    items: list[NoticeView]
    next: str | None


@router.get("")
async def list_all(
    access: _Reading, page: TenantsPage, wanted: Annotated[NoticeType | None, Query(alias="type")] = None
) -> NoticeList:
    """List notices, newest first: servers ready, domains verified, certificates failing, limits near; kept 30 days."""
    notices = await list_notices(access.session, access.scope, wanted, page.after, page.limit)
    return NoticeList(
        items=[NoticeView.model_validate(notice) for notice in notices],
        next=page.next_after([notice.id for notice in notices]),
    )
