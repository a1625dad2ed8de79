"""Releases of the agent, and plans to upgrade servers to one, ring by ring."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt
from pydantic.config import JsonDict

from control_plane.operators import upgrades
from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.access import OperatorAccess, operator_transaction
from control_plane.rest.pages import OperatorsPage, in_time
from control_plane.rest.reasons import Because, Reason
from control_plane.rest.story_ids import CURSOR, MOMENT, PAUSE, REASON, VPS
from control_plane.rest.strict_route import StrictRoute
from control_plane.upgrades.plans import PACE, Pace, Wish, list_plans, show_plan
from control_plane.upgrades.releases import list_releases
from control_plane.upgrades.states import PlanState, ServerState

router = APIRouter(tags=["upgrades"], route_class=StrictRoute)

_Reading = Annotated[OperatorAccess, operator_transaction(OperatorScope.READ_FLEET)]
_Managing = Annotated[OperatorAccess, operator_transaction(OperatorScope.MANAGE_FLEET)]

_RELEASE = "0.2.0-3f9a1c0b77de"
_OFFERED: JsonDict = {"name": _RELEASE, "version": "0.2.0", "state": "offered", "created_at": MOMENT}
_PLAN: JsonDict = {
    "id": PAUSE,
    "release": _RELEASE,
    "state": "rolled_back",
    "ring": 0,
    "rings": 3,
    "ring_since": MOMENT,
    "minimum_sends": 200,
    "soak_seconds": 1800.0,
    "patience_seconds": 180.0,
    "reason": "1 of 1 servers of ring 0 failed",
    "requested_by": "on call",
    "created_at": MOMENT,
    "ended_at": MOMENT,
}
_SERVER: JsonDict = {
    "vps_id": VPS,
    "ring": 0,
    "state": "failed",
    "reason": "rolled back: it ended 3 times within 9 s",
    "since": MOMENT,
}


class ReleaseView(BaseModel):
    """A signed release; failed when a plan with it was rolled back, proven when one was done."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _OFFERED})

    name: str
    version: str
    state: str
    created_at: dt.datetime


class ReleaseList(BaseModel):
    """A page of releases; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_OFFERED], "next": CURSOR}})

    items: list[ReleaseView]
    next: str | None


class NewPlan(BaseModel):
    """To whom first, and how carefully; whatever it brings."""

    model_config = ConfigDict(extra="forbid")

    canaries: list[uuid.UUID] = Field(default=[], max_length=100, description="The first ring; one is chosen for none.")
    minimum_sends: StrictInt = Field(
        PACE.minimum_sends,
        ge=0,
        le=1_000_000,
        description="Attempts after which a ring is gone on from; 0: time alone.",
    )
    soak_seconds: StrictFloat = Field(PACE.soak.total_seconds(), ge=0, le=604_800, description="Or so long after.")
    reason: Reason = None


PatienceSeconds = Annotated[
    StrictFloat, Field(ge=10, le=3600, description="What a server gets to be heard of with what is new.")
]


class NewUpgrade(NewPlan):
    """Which release, to whom first, and how carefully."""

    model_config = ConfigDict(json_schema_extra={"example": {"release": "0.2.0", "canaries": [VPS], "reason": REASON}})

    release: str = Field(
        max_length=100,
        pattern=r"^[0-9A-Za-z.+_-]+$",
        description="A release's name, or a version, whose newest release it is.",
    )
    patience_seconds: PatienceSeconds = PACE.patience.total_seconds()


class UpgradeView(BaseModel):
    """A plan for a release, a configuration of the fleet or versions of the mail packages.

    `ring_since` is when the ring's servers all had it.
    """

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _PLAN})

    id: uuid.UUID
    release: str | None
    configuration: int | None = None
    packages: dict[str, list[str]] | None = None
    state: PlanState
    ring: int
    rings: int
    ring_since: dt.datetime | None
    minimum_sends: int
    soak_seconds: float
    patience_seconds: float
    reason: str | None
    requested_by: str
    created_at: dt.datetime
    ended_at: dt.datetime | None


class UpgradeServerView(BaseModel):
    """A server of a plan."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": _SERVER})

    vps_id: uuid.UUID
    ring: int
    state: ServerState
    reason: str | None
    since: dt.datetime


class WholeUpgradeView(UpgradeView):
    """A plan with its servers, by ring."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": {**_PLAN, "servers": [_SERVER]}})

    servers: list[UpgradeServerView]


class UpgradeList(BaseModel):
    """A page of plans; `next` is what to send as `after` for the page that follows."""

    model_config = ConfigDict(json_schema_extra={"example": {"items": [_PLAN], "next": CURSOR}})

    items: list[UpgradeView]
    next: str | None


@router.get("/releases")
async def get_releases(access: _Reading, page: OperatorsPage) -> ReleaseList:
    """List the releases that servers can be upgraded to, newest first."""
    found = await list_releases(access.session, page.behind(str), page.limit)
    return ReleaseList(
        items=[ReleaseView.model_validate(each) for each in found],
        next=page.next_after([in_time(each.created_at, each.name) for each in found]),
    )


@router.get("/fleet/upgrades")
async def get_upgrades(access: _Reading, page: OperatorsPage) -> UpgradeList:
    """List plans, newest first."""
    plans = await list_plans(access.session, page.behind(uuid.UUID), page.limit)
    return UpgradeList(
        items=[UpgradeView.model_validate(each) for each in plans],
        next=page.next_after([in_time(each.created_at, each.id) for each in plans]),
    )


@router.post("/fleet/upgrades", status_code=status.HTTP_201_CREATED)
async def plan_upgrade(new: NewUpgrade, response: Response, access: _Managing) -> UpgradeView:
    """Plan an upgrade of all servers that do not run the release; nothing happens before it is applied."""
    pace = Pace(new.minimum_sends, dt.timedelta(seconds=new.soak_seconds), dt.timedelta(seconds=new.patience_seconds))
    plan = await upgrades.make_plan(access.session, access.actor, Wish(new.release, new.canaries, pace), new.reason)
    response.headers["Location"] = f"/operator/v1/fleet/upgrades/{plan.id}"
    return UpgradeView.model_validate(plan)


@router.get("/fleet/upgrades/{upgrade_id}")
async def get_upgrade(upgrade_id: uuid.UUID, access: _Reading) -> WholeUpgradeView:
    """Show a plan and how each of its servers stands."""
    shown = await show_plan(access.session, upgrade_id)
    servers = [UpgradeServerView.model_validate(each) for each in shown.servers]
    return WholeUpgradeView(**UpgradeView.model_validate(shown.plan).model_dump(), servers=servers)


@router.post("/fleet/upgrades/{upgrade_id}:apply")
async def apply_upgrade(upgrade_id: uuid.UUID, access: _Managing, because: Because | None = None) -> UpgradeView:
    """Let a plan begin; 409 while another is under way."""
    reason = because.reason if because else None
    return UpgradeView.model_validate(await upgrades.apply_plan(access.session, access.actor, upgrade_id, reason))


@router.post("/fleet/upgrades/{upgrade_id}:abort")
async def abort_upgrade(upgrade_id: uuid.UUID, access: _Managing, because: Because | None = None) -> UpgradeView:
    """Take a plan back: servers that have the release go back to the one before."""
    reason = because.reason if because else None
    return UpgradeView.model_validate(await upgrades.abort_plan(access.session, access.actor, upgrade_id, reason))
