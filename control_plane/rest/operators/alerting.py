"""Who is told of alerts, and when not: silences, channels, acknowledgement."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt
from pydantic.config import JsonDict

from control_plane.alerts.channels.channels import Kind, NewChannel, list_channels
from control_plane.alerts.silences import Silenced, list_silences
from control_plane.monitoring.alert_states import AlertState
from control_plane.operators import alerting
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_parts, operator_transaction, sealer_of
from control_plane.rest.pages import OperatorsPage, in_time
from control_plane.rest.story_ids import ACT, CURSOR, MOMENT, REASON, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(prefix="/alerts", tags=["alerts"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_ALERTS)]
_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_ALERTS)]
_ONE_LINE = r"^[^\x00-\x1f\x7f]+$"
_Line = Annotated[str, Field(max_length=500, pattern=_ONE_LINE)]
_Name = Annotated[str, Field(max_length=100, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
_SILENCE: JsonDict = {
    "id": ACT,
    "of_tenant_id": TENANT,
    "of_vps_id": VPS,
    "rule": "disk",
    "reason": REASON,
    "created_by": "on call",
    "created_at": MOMENT,
    "until": MOMENT,
}
_CHANNEL: JsonDict = {
    "id": ACT,
    "name": "pager",
    "kind": "webhook",
    "least_severity": "critical",
    "after_minutes": 15,
    "created_at": MOMENT,
}


class Acknowledged(BaseModel):
    """Who looks at the alert, and since when."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {"id": ACT, "state": "acknowledged", "acknowledged_by": "on call", "acknowledged_at": MOMENT}
        },
    )

    id: uuid.UUID
    state: AlertState
    acknowledged_by: str
    acknowledged_at: dt.datetime


class NewSilence(BaseModel):
    """Of what nobody is to be told: all that is named must match."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"vps_id": VPS, "until": MOMENT, "reason": REASON}}
    )

    tenant_id: uuid.UUID | None = None
    vps_id: uuid.UUID | None = None
    rule: str | None = Field(None, max_length=100)
    until: AwareDatetime
    reason: _Line


class SilenceView(BaseModel):
    """A silence in force."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _SILENCE})

    id: uuid.UUID
    of_tenant_id: uuid.UUID | None
    of_vps_id: uuid.UUID | None
    rule: str | None
    reason: str
    created_by: str
    created_at: dt.datetime
    until: dt.datetime


class SilenceList(BaseModel):
    """A page of silences; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_SILENCE], "next": CURSOR}})

    items: list[SilenceView]
    next: str | None


class NewChannelBody(BaseModel):
    """A way to tell somebody; the URL is sealed and never shown."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "pager", "kind": "webhook", "url": "https://pager.example/hook"}},
    )

    name: _Name
    kind: Kind
    url: str = Field(min_length=1, max_length=2000, repr=False)
    least_severity: str = Field("warning", max_length=20)
    after_minutes: StrictInt = Field(0, ge=0, le=10_080, description="Told of what nobody acknowledged for so long.")


class ChannelView(BaseModel):
    """A channel without where it leads."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _CHANNEL})

    id: uuid.UUID
    name: str
    kind: Kind
    least_severity: str
    after_minutes: int
    created_at: dt.datetime


class ChannelCreated(ChannelView):
    """A new channel. What signs its webhooks is shown here and never again."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": {**_CHANNEL, "secret": "whsec_…"}})

    secret: str | None = None


class ChannelList(BaseModel):
    """A page of channels; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_CHANNEL], "next": CURSOR}})

    items: list[ChannelView]
    next: str | None


class Tested(BaseModel):
    """The notice on its way."""

    model_config = ConfigDict(json_schema_extra={"example": {"notice_id": ACT}})

    notice_id: uuid.UUID


@router.post("/{alert_id}:acknowledge")
async def acknowledge(alert_id: uuid.UUID, request: Request, access: _Managing) -> Acknowledged:
    """Say that you look at an alert: nobody else is called for it."""
    now = operator_parts(request).clock()
    return Acknowledged.model_validate(await alerting.acknowledge(access.session, access.actor, alert_id, now))


@router.get("/silences")
async def show_silences(request: Request, access: _Reading, page: OperatorsPage) -> SilenceList:
    """List the silences in force, the first to end first."""
    rows = await list_silences(access.session, operator_parts(request).clock(), page.behind(uuid.UUID), page.limit)
    return SilenceList(
        items=[SilenceView.model_validate(row) for row in rows],
        next=page.next_after([in_time(row.until, row.id) for row in rows]),
    )


@router.post("/silences", status_code=status.HTTP_201_CREATED)
async def silence(body: NewSilence, request: Request, response: Response, access: _Managing) -> SilenceView:
    """Have nobody told of something for a while; alerts are kept all the same, and told when it is over."""
    what = Silenced(body.tenant_id, body.vps_id, body.rule)
    parts = operator_parts(request)
    row = await alerting.silence(
        access.session, access.actor, parts.rules, what, body.until, reason=body.reason, now=parts.clock()
    )
    response.headers["Location"] = f"/operator/v1/alerts/silences/{row.id}"
    return SilenceView.model_validate(row)


@router.delete("/silences/{silence_id}", status_code=status.HTTP_204_NO_CONTENT)
async def end_silence(silence_id: uuid.UUID, access: _Managing) -> None:
    """Take a silence back."""
    await alerting.end_silence(access.session, access.actor, silence_id)


@router.get("/channels")
async def show_channels(access: _Reading, page: OperatorsPage) -> ChannelList:
    """List the channels by name."""
    rows = await list_channels(access.session, page.place, page.limit)
    return ChannelList(
        items=[ChannelView.model_validate(row) for row in rows], next=page.next_after([row.name for row in rows])
    )


@router.post("/channels", status_code=status.HTTP_201_CREATED)
async def add_channel(body: NewChannelBody, request: Request, response: Response, access: _Managing) -> ChannelCreated:
    """Add a channel: one of apprise's URLs, or a webhook that is signed. It may not lead through the fleet."""
    new = NewChannel(**body.model_dump())
    channel, secret = await alerting.add_channel(access.session, access.actor, sealer_of(request), new)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Location"] = f"/operator/v1/alerts/channels/{channel.name}"
    return ChannelCreated(**ChannelView.model_validate(channel).model_dump(), secret=secret)


@router.delete("/channels/{name}", status_code=status.HTTP_204_NO_CONTENT)
async def remove_channel(name: str, access: _Managing) -> None:
    """Remove a channel, with what waits for it."""
    await alerting.remove_channel(access.session, access.actor, name)


@router.post("/channels/{name}:test", status_code=status.HTTP_202_ACCEPTED)
async def test_channel(name: str, access: _Managing) -> Tested:
    """Tell a channel that it is tried."""
    return Tested(notice_id=await alerting.test_channel(access.session, access.actor, name))
