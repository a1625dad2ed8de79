"""How the servers of all tenants are: totals, worst first, by whatever is asked."""

import datetime as dt
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from control_plane.monitoring.expressions import LONGEST
from control_plane.monitoring.fleet import Wanted, fleet_health
from control_plane.monitoring.states import Check, State
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage
from control_plane.rest.ranks import behind, next_of
from control_plane.rest.story_ids import CURSOR, MOMENT, TENANT, VPS
from control_plane.rest.strict_route import StrictRoute

router = APIRouter(tags=["fleet"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_FLEET)]
_Name = Annotated[str | None, Query(max_length=100)]
_Where = Annotated[
    str | None, Query(max_length=LONGEST, description="Such as `deferred_ratio > 0.2 and provider = 'google'`.")
]
_CHECK: JsonDict = {
    "kind": "disk",
    "state": "warn",
    "value": 0.87,
    "sentence": "/ is 87% full, and full in 9 hours.",
    "changed_at": MOMENT,
}
_SERVER: JsonDict = {
    "vps_id": VPS,
    "tenant_id": TENANT,
    "hostname": "mx-1.penguin.example",
    "provider": "local",
    "region": "here",
    "agent_version": "0.1.0",
    "state": "warn",
    "checked_at": MOMENT,
    "metrics": {"disk_used_ratio": 0.87, "destinations": {"google": {"delivered": 40, "deferred_ratio": 0.1}}},
    "wrong": [_CHECK],
}
_FLEET: JsonDict = {"totals": {"fail": 0, "warn": 1, "unknown": 0, "ok": 19}, "items": [_SERVER], "next": CURSOR}


class CheckView(BaseModel):
    """A check's newest result; `changed_at` is since when its state has been this one."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _CHECK})

    kind: Check
    state: State
    value: float | None
    sentence: str
    changed_at: dt.datetime


class ServerHealthView(BaseModel):
    """A server, with its checks that are not well."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _SERVER})

    vps_id: uuid.UUID
    tenant_id: uuid.UUID
    hostname: str
    provider: str
    region: str
    agent_version: str | None
    state: State
    checked_at: dt.datetime | None
    metrics: dict[str, Any]
    wrong: list[CheckView]


class FleetHealthView(BaseModel):
    """How many servers are in which state, and a page of them, the worst first.

    `next` is what to send as `after` for the page that follows.
    """

    model_config = ConfigDict(json_schema_extra={"example": _FLEET})

    totals: dict[State, int]
    items: list[ServerHealthView]
    next: str | None


@router.get("/fleet/health")
async def show_fleet_health(
    access: _Reading,
    page: OperatorsPage,
    *,
    tenant: uuid.UUID | None = None,
    provider: _Name = None,
    region: _Name = None,
    state: State | None = None,
    version: _Name = None,
    check: Check | None = None,
    where: _Where = None,
) -> FleetHealthView:
    """Show how the servers of all tenants are, worst first."""
    wanted = Wanted(tenant, provider, region, state, version, check, where)
    fleet = await fleet_health(access.session, wanted, page.limit, behind(page))
    return FleetHealthView(
        totals={State(state): servers for state, servers in fleet.totals.items()},
        items=[ServerHealthView.model_validate(server) for server in fleet.servers],
        next=next_of(page, fleet),
    )
