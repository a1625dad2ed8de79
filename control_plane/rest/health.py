"""How a tenant's servers are: one with its checks, its last report and its past, or all, worst first."""

import datetime as dt
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from control_plane.fleet.servers import server_health
from control_plane.healing.acts import acts_about
from control_plane.monitoring.changes import changes_before
from control_plane.monitoring.expressions import LONGEST
from control_plane.monitoring.fleet import Wanted, checks_of, fleet_health
from control_plane.monitoring.history import last_hour, series
from control_plane.monitoring.states import Check, State, worst
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage
from control_plane.rest.parts import parts_of
from control_plane.rest.ranks import behind, next_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.vps import load_server
from control_plane.tenancy.permissions import Permission

router = APIRouter(tags=["health"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]
_DAY = dt.timedelta(days=1)

Where = Annotated[
    str | None,
    Query(max_length=LONGEST, description="Such as `deferred_ratio > 0.2 and provider = 'google'`."),
]
Name = Annotated[str | None, Query(max_length=100)]


class CheckView(BaseModel):
    """A check's newest result; `changed_at` is since when its state has been this one."""

    model_config = ConfigDict(from_attributes=True)

    kind: Check
    state: State
    value: float | None
    sentence: str
    changed_at: dt.datetime


class PointView(BaseModel):
    """A value of the step that begins at `at`."""

    model_config = ConfigDict(from_attributes=True)

    at: dt.datetime
    value: float


class ChangeView(BaseModel):
    """Something that changed before it got worse: configuration, version, packages, dns, inbox or volume."""

    model_config = ConfigDict(from_attributes=True)

    at: dt.datetime
    kind: str
    detail: str


class HealingView(BaseModel):
    """Something that was done about the server without a person, by a rule; standing is what lasts until it ends."""

    model_config = ConfigDict(from_attributes=True)

    rule: str
    act: str
    reason: str
    state: str
    detail: str | None
    began_at: dt.datetime
    ended_at: dt.datetime | None


class HealthView(BaseModel):
    """A server's health; `series` when a metric was asked for, `changes` when something is not well."""

    vps_id: uuid.UUID
    monitoring_enabled: bool
    state: State
    checks: list[CheckView]
    last_report: dict[str, Any] | None
    reported_at: dt.datetime | None
    series: list[PointView] | None
    changes: list[ChangeView]
    healing: list[HealingView]


class ReportValuesView(BaseModel):
    """What one report of the last hour measured."""

    at: dt.datetime
    metrics: dict[str, float]


class ServerHealthView(BaseModel):
    """A server of the fleet, with its checks that are not well."""

    model_config = ConfigDict(from_attributes=True)

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

    totals: dict[State, int]
    items: list[ServerHealthView]
    next: str | None


@router.get("/vps/{vps_id}/health")
async def get_health(
    vps_id: uuid.UUID,
    request: Request,
    access: _Reading,
    *,
    metric: Annotated[str | None, Query(max_length=100)] = None,
    start: Annotated[dt.datetime | None, Query(alias="from")] = None,
    end: Annotated[dt.datetime | None, Query(alias="to")] = None,
    step: Annotated[int, Query(ge=300, le=86_400 * 31, description="Seconds.")] = 300,
) -> HealthView:
    """Show how a server is: checks, last report, a metric over time, what changed before it got worse, and healing."""
    server = await load_server(access.session, access.scope, vps_id)
    now = parts_of(request).clock()
    checks = (await checks_of(access.session, [vps_id])).get(vps_id, [])
    until = _aware(end) or now
    points = None
    if metric is not None:
        since = _aware(start) or until - _DAY
        points = await series(access.session, vps_id, metric, start=since, end=until, step=dt.timedelta(seconds=step))
    worse = min((each.changed_at for each in checks if each.state in {State.WARN, State.FAIL}), default=None)
    health = await server_health(access.session, vps_id, now)
    return HealthView(
        vps_id=vps_id,
        monitoring_enabled=server.monitoring_enabled,
        state=worst(State(each.state) for each in checks) if checks else State.UNKNOWN,
        checks=[CheckView.model_validate(each) for each in checks],
        last_report=health.report_fields() if health else None,
        reported_at=health.reported_at if health else None,
        series=None if points is None else [PointView.model_validate(point) for point in points],
        changes=[
            ChangeView.model_validate(change)
            for change in (await changes_before(access.session, vps_id, worse) if worse else [])
        ],
        healing=[HealingView.model_validate(act) for act in await acts_about(access.session, vps_id)],
    )


@router.get("/vps/{vps_id}/health/reports")
async def get_reports(vps_id: uuid.UUID, request: Request, access: _Reading) -> list[ReportValuesView]:
    """Show what each report of the last hour measured."""
    await load_server(access.session, access.scope, vps_id)
    reports = await last_hour(access.session, vps_id, parts_of(request).clock())
    return [ReportValuesView(at=at, metrics=metrics) for at, metrics in reports]


@router.get("/fleet/health")
async def get_fleet(
    access: _Reading,
    page: TenantsPage,
    *,
    provider: Name = None,
    region: Name = None,
    state: State | None = None,
    version: Name = None,
    check: Check | None = None,
    where: Where = None,
) -> FleetHealthView:
    """Show how the tenant's servers are, worst first."""
    wanted = Wanted(access.scope.tenant_id, provider, region, state, version, check, where)
    fleet = await fleet_health(access.session, wanted, page.limit, behind(page))
    return FleetHealthView(
        totals={State(state): servers for state, servers in fleet.totals.items()},
        items=[ServerHealthView.model_validate(server) for server in fleet.servers],
        next=next_of(page, fleet),
    )


def _aware(at: dt.datetime | None) -> dt.datetime | None:
    """Take a moment that names no zone for one of UTC."""
    return at.replace(tzinfo=dt.UTC) if at is not None and at.tzinfo is None else at
