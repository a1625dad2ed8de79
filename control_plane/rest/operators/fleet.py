"""The fleet: every server of every tenant, as it was last heard of."""

import datetime as dt
import uuid
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from control_plane.fleet.servers import FleetServer, fleet_overview
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage
from control_plane.rest.story_ids import CURSOR, MOMENT, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["fleet"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_FLEET)]

_QUEUE: JsonDict = {"waiting": 12, "leased": 3, "postfix": 1}
_SERVER: JsonDict = {
    "vps_id": VPS,
    "tenant_id": TENANT,
    "hostname": "mx-1.penguin.example",
    "status": "ready",
    "mail_server_status": "running",
    "agent_version": "0.1.0",
    "desired_version": 4,
    "applied_version": 4,
    "reachable": True,
    "last_seen_at": MOMENT,
    "clock_offset_ms": -3,
    "clock_measured_at": MOMENT,
    "queue": _QUEUE,
}


class ServerQueueView(BaseModel):
    """Sends not leased yet, leased and not yet with Postfix, and messages in Postfix; null when it did not say."""

    waiting: int
    leased: int
    postfix: int | None


class FleetServerView(BaseModel):
    """A server; `reachable` when it holds a link and was heard of lately."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _SERVER})

    vps_id: uuid.UUID
    tenant_id: uuid.UUID
    hostname: str
    status: str
    mail_server_status: str
    agent_version: str | None
    desired_version: int
    applied_version: int
    reachable: bool
    last_seen_at: dt.datetime | None
    clock_offset_ms: int | None
    clock_measured_at: dt.datetime | None
    queue: ServerQueueView

    @classmethod
    def of(cls, server: FleetServer) -> Self:
        """Return what is shown of it."""
        health = server.health
        queue = ServerQueueView(waiting=server.waiting, leased=server.queued, postfix=health.postfix_queue)
        shown = {name: getattr(health, name) for name in cls.model_fields if name != "queue"}
        return cls(**shown, queue=queue)


class FleetView(BaseModel):
    """A page of servers that are not deleted; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_SERVER], "next": CURSOR}})

    items: list[FleetServerView]
    next: str | None


@router.get("/fleet")
async def show_fleet(access: _Reading, page: OperatorsPage) -> FleetView:
    """List the servers of all tenants: state, mail server, agent, clock, and how much waits."""
    servers = await fleet_overview(access.session, page.after, page.limit)
    return FleetView(
        items=[FleetServerView.of(server) for server in servers],
        next=page.next_after([server.health.vps_id for server in servers]),
    )
