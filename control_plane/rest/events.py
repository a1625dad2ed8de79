"""What happened, as a tenant's webhooks are told of it."""

import datetime as dt
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from control_plane.webhooks.event_types import EventType
from control_plane.webhooks.events import EventFilter, list_events, load_event

router = APIRouter(prefix="/events", tags=["events"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_MESSAGES)]


class EventView(BaseModel):
    """An event; `subject_id` is the send, inbox, domain, server or webhook that it is about."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    type: EventType
    subject_id: uuid.UUID
    workspace_id: uuid.UUID | None
    at: dt.datetime
    recorded_at: dt.datetime
    data: dict[str, Any]


class EventList(BaseModel):
    """A page of events; `next` is what to send as `after` for the page that follows."""

    items: list[EventView]
    next: str | None


@router.get("")
async def list_all(
    access: _Reading,
    wanted: Annotated[EventFilter, Depends()],
    page: TenantsPage,
) -> EventList:
    """List events, newest first. They are recorded once there is a webhook, also a disabled one, and kept 30 days."""
    events = await list_events(access.session, access.scope, wanted, page.after, page.limit)
    return EventList(
        items=[EventView.model_validate(event) for event in events],
        next=page.next_after([event.id for event in events]),
    )


@router.get("/{event_id}")
async def show(event_id: uuid.UUID, access: _Reading) -> EventView:
    """Show one event."""
    return EventView.model_validate(await load_event(access.session, access.scope, event_id))
