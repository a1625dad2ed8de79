"""Webhooks: where a tenant is told what happened, with what became of the telling."""

import datetime as dt
import uuid
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field

from control_plane.errors import InvalidInput
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import LONGEST_CURSOR, TenantsPage, listing_of_body
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.written_time import WrittenTime
from control_plane.tenancy.permissions import Permission
from control_plane.webhooks.deliveries import Page, Range, list_deliveries, ping, replay_one, replay_range
from control_plane.webhooks.endpoints import (
    OVERLAP,
    EndpointChange,
    WantedEndpoint,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    list_endpoints,
    load_endpoint,
    rotate_secret,
)
from control_plane.webhooks.event_types import EventType
from control_plane.webhooks.urls import LONGEST_URL, require_url
from db.models import WebhookDelivery

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_WEBHOOKS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_WEBHOOKS)]

_Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
_OVERLAP_HOURS = int(OVERLAP.total_seconds()) // 3600
_Types = Annotated[frozenset[EventType], Field(description="None for all of them.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewWebhook(_Body):
    """An endpoint to make, for one workspace's events or for all of the tenant's."""

    url: _Url
    event_types: _Types = frozenset()
    workspace_id: uuid.UUID | None = None


class WebhookChange(_Body):
    """What to change; what is left out stays."""

    url: _Url | None = None
    event_types: _Types | None = None
    enabled: bool | None = None


class Rotation(_Body):
    """How long the present secret signs beside the new one."""

    overlap_hours: int = Field(_OVERLAP_HOURS, ge=0, le=168)


class Replay(_Body):
    """Which events to tell again: those recorded in this range, without those delivered unless it says so."""

    since: WrittenTime
    until: WrittenTime
    delivered: bool = False
    after: str | None = Field(
        None, max_length=LONGEST_CURSOR, description="`next` of the replay before, when there was more."
    )


class WebhookView(BaseModel):
    """An endpoint without its secret; `failing_since` is its first failure after its last success."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    workspace_id: uuid.UUID | None
    url: str
    event_types: list[EventType]
    enabled: bool
    disabled_reason: str | None
    failing_since: dt.datetime | None
    previous_secret_until: dt.datetime | None
    created_at: dt.datetime


class WebhookCreated(WebhookView):
    """A new endpoint. Its secret is shown here and never again."""

    secret: str


class NewSecret(BaseModel):
    """A new secret. It is shown here and never again."""

    secret: str
    previous_secret_until: dt.datetime


class WebhookList(BaseModel):
    """A page of endpoints; `next` is what to send as `after` for the page that follows."""

    items: list[WebhookView]
    next: str | None


class DeliveryView(BaseModel):
    """One event on its way to the endpoint."""

    id: uuid.UUID
    event_id: uuid.UUID
    type: EventType
    subject_id: uuid.UUID
    state: Literal["waiting", "delivered", "dead"]
    attempts: int
    due_at: dt.datetime | None
    last_attempt_at: dt.datetime | None
    last_status: int | None
    last_error: str | None
    finished_at: dt.datetime | None
    created_at: dt.datetime


class DeliveryList(BaseModel):
    """A page of deliveries; `next` is what to send as `after` for the page that follows."""

    items: list[DeliveryView]
    next: str | None


class Pinged(BaseModel):
    """The delivery to look for."""

    delivery_id: uuid.UUID


class Replayed(BaseModel):
    """How many events are told again; `next` is to be sent as `after` when there are more."""

    replayed: int
    next: str | None


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: NewWebhook, request: Request, response: Response, access: _Managing) -> WebhookCreated:
    """Make an endpoint. What happens from now on is told to it."""
    parts = parts_of(request)
    require_url(body.url, private_targets=parts.settings.webhook_private_targets)
    wanted = WantedEndpoint(body.url, body.event_types, body.workspace_id)
    endpoint_id, secret = await create_endpoint(access.session, access.scope, wanted, parts.sealer)
    response.headers["Location"] = f"/api/v1/webhooks/{endpoint_id}"
    response.headers["Cache-Control"] = "no-store"
    made = WebhookView.model_validate(await load_endpoint(access.session, access.scope, endpoint_id))
    return WebhookCreated(**made.model_dump(), secret=secret)


@router.get("")
async def list_all(access: _Reading, page: TenantsPage) -> WebhookList:
    """List the tenant's endpoints."""
    endpoints = await list_endpoints(access.session, access.scope, page.after, page.limit)
    return WebhookList(
        items=[WebhookView.model_validate(endpoint) for endpoint in endpoints],
        next=page.next_after([endpoint.id for endpoint in endpoints]),
    )


@router.get("/{webhook_id}")
async def show(webhook_id: uuid.UUID, access: _Reading) -> WebhookView:
    """Show an endpoint without its secret."""
    return WebhookView.model_validate(await load_endpoint(access.session, access.scope, webhook_id))


@router.patch("/{webhook_id}")
async def change(webhook_id: uuid.UUID, body: WebhookChange, request: Request, access: _Managing) -> WebhookView:
    """Change an endpoint. Disabled, it is told nothing; replay the time when it is enabled again."""
    if body.url is not None:
        require_url(body.url, private_targets=parts_of(request).settings.webhook_private_targets)
    wanted = EndpointChange(body.url, body.event_types, body.enabled)
    return WebhookView.model_validate(await change_endpoint(access.session, access.scope, webhook_id, wanted))


@router.delete("/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete(webhook_id: uuid.UUID, access: _Managing) -> None:
    """Delete an endpoint, with what was told to it."""
    await delete_endpoint(access.session, access.scope, webhook_id)


@router.post("/{webhook_id}:ping", status_code=status.HTTP_202_ACCEPTED)
async def send_ping(webhook_id: uuid.UUID, access: _Managing) -> Pinged:
    """Tell the endpoint `webhook.ping`, whatever types it wants."""
    return Pinged(delivery_id=await ping(access.session, access.scope, webhook_id))


@router.post("/{webhook_id}:rotate")
async def rotate(
    webhook_id: uuid.UUID, request: Request, response: Response, access: _Managing, body: Rotation | None = None
) -> NewSecret:
    """Give it a new secret. Until the overlap is over, both sign each event."""
    overlap = dt.timedelta(hours=body.overlap_hours if body else _OVERLAP_HOURS)
    secret = await rotate_secret(access.session, access.scope, webhook_id, overlap, parts_of(request).sealer)
    response.headers["Cache-Control"] = "no-store"
    endpoint = await load_endpoint(access.session, access.scope, webhook_id)
    if endpoint.previous_secret_until is None:
        raise RuntimeError("a rotated secret has one before it")
    return NewSecret(secret=secret, previous_secret_until=endpoint.previous_secret_until)


@router.post("/{webhook_id}:replay", status_code=status.HTTP_202_ACCEPTED)
async def replay(webhook_id: uuid.UUID, body: Replay, request: Request, access: _Managing) -> Replayed:
    """Tell the events of a range again, oldest first, also those it was never told; up to 10,000 at a time."""
    if body.until <= body.since:
        raise InvalidInput("The range must end after it begins.", "/until")
    listing = listing_of_body(request, access.scope.tenant_id, body.model_dump_json(exclude={"after"}))
    after = 0 if body.after is None else int(listing.place(body.after))
    chosen = Range(body.since, body.until, after, body.delivered)
    count, following = await replay_range(access.session, access.scope, webhook_id, chosen)
    return Replayed(replayed=count, next=listing.cursor(following))


@router.get("/{webhook_id}/deliveries")
async def deliveries(
    webhook_id: uuid.UUID,
    access: _Reading,
    page: TenantsPage,
    state: Annotated[Literal["waiting", "delivered", "dead"] | None, Query()] = None,
) -> DeliveryList:
    """List what was told to the endpoint, newest first; kept 30 days."""
    rows = await list_deliveries(access.session, access.scope, webhook_id, Page(state, page.after, page.limit))
    items = [_delivery_view(delivery, kind) for delivery, kind in rows]
    return DeliveryList(items=items, next=page.next_after([item.id for item in items]))


@router.post("/{webhook_id}/deliveries/{delivery_id}:replay", status_code=status.HTTP_202_ACCEPTED)
async def replay_delivery(webhook_id: uuid.UUID, delivery_id: uuid.UUID, access: _Managing) -> Replayed:
    """Tell one event again under its own id, whatever became of it."""
    await replay_one(access.session, access.scope, webhook_id, delivery_id)
    return Replayed(replayed=1, next=None)


def _delivery_view(delivery: WebhookDelivery, kind: str) -> DeliveryView:
    own = {name: getattr(delivery, name) for name in DeliveryView.model_fields if name not in {"type", "due_at"}}
    return DeliveryView(**own, type=EventType(kind), due_at=delivery.due_at if delivery.state == "waiting" else None)
