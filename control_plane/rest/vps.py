"""Servers: ask for one, see how it is, have it removed."""

import datetime as dt
import decimal
import ipaddress
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.fleet.drift import DriftPolicy
from control_plane.fleet.reports import moment
from control_plane.fleet.servers import ServerHealth, server_health
from control_plane.inboxes.server_deeds import REBUILD_KIND
from control_plane.provisioning.draining import HOLD_KIND, drain_progress
from control_plane.provisioning.power import POWER_KINDS
from control_plane.provisioning.requests import request_removal
from control_plane.provisioning.states import ServerStatus
from control_plane.rest.access import Access, transaction
from control_plane.rest.orders import ServerOrder, order_server
from control_plane.rest.pages import TenantsPage
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.runs import RunView, load_last_run
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from control_plane.tenancy.workspaces import require_workspace
from db.models import VpsServer

router = APIRouter(tags=["vps"], route_class=ResourceRoute)

LIFE_KINDS = frozenset({"vps.provision", "vps.decommission"})
OPERATION_KINDS = POWER_KINDS | {HOLD_KIND, REBUILD_KIND}

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_SERVERS)]
_NAME = "^[a-z0-9_-]*$"
Force = Annotated[bool, Query(description="Do not wait until it is empty: what is in its Postfix is lost.")]


class NewServer(BaseModel):
    """A server to provision."""

    model_config = ConfigDict(extra="forbid")

    provider: str = Field(
        max_length=50,
        description="`local`, `hetzner`, `byo`, or `hostwinds`, which is documented, not verified live.",
    )
    size: str = Field(max_length=50)
    region: str | None = Field(None, max_length=100, description="The provider's first region when left out.")


class ServerView(BaseModel):
    """A server as its row says.

    Mail goes out by `ipv6_address` since `ipv6_sending_since`; its preflight says why it does not.
    """

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    workspace_id: uuid.UUID
    provider: str
    size: str
    region: str
    hostname: str
    ip_address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
    ipv6_address: ipaddress.IPv6Address | None
    ipv6_sending_since: dt.datetime | None
    specs: dict[str, Any] | None
    status: str
    status_reason: str | None
    mail_server_status: str
    ssl_certificate_expires: dt.datetime | None
    monitoring_enabled: bool
    monthly_cost: decimal.Decimal | None
    desired_version: int
    applied_version: int
    applied_at: dt.datetime | None
    applied_detail: str | None
    agent_version: str | None
    last_seen_at: dt.datetime | None
    draining_since: dt.datetime | None
    removal_requested_at: dt.datetime | None
    drift_policy: DriftPolicy
    created_at: dt.datetime


class ReportView(BaseModel):
    """The last health report: when it was made by the server's clock, when it came by ours, and what it says."""

    reported_at: dt.datetime
    received_at: dt.datetime
    health: dict[str, Any]


class ClockView(BaseModel):
    """A server's clock: in seconds, ahead of ours when positive. One out of tolerance is given nothing to send."""

    offset_seconds: float
    measured_at: dt.datetime
    in_tolerance: bool


class DrainView(BaseModel):
    """What a server that is being drained still has.

    `waiting` sends are not leased and stay so; `queued` are leased to it; `relayed` are in its Postfix. `postfix_queue`
    counts all its messages, and `oldest_seconds` is the age of the oldest, as last reported.
    """

    model_config = ConfigDict(from_attributes=True)

    waiting: int
    queued: int
    relayed: int
    postfix_queue: int | None
    oldest_seconds: float | None


class CertificateView(BaseModel):
    """How it stands with the authority's certificate, as the server last told.

    `state` is self_signed, waiting_for_port, asking, issued, unreachable, limited, refused, spent, not_taken or failed;
    `detail` says it in a sentence. Whatever it is, the server goes on showing the certificate that it has.
    `missing_names` are those of domains that were ordered as well and that it is not for.
    """

    state: str
    detail: str
    last_attempt_at: dt.datetime | None
    next_attempt_at: dt.datetime | None
    attempts_today: int
    failures: int
    missing_names: list[str]


class DriftView(BaseModel):
    """Files on the server that are not as they were applied, by their paths, and those that were put right last.

    The times are by the server's clock; it looks every five minutes.
    """

    looked_at: dt.datetime
    paths: list[str]
    mended_at: dt.datetime | None
    mended_paths: list[str]


class ServerDetail(ServerView):
    """A server with its health, the run that made or removes it, and the last thing that was done to it otherwise."""

    reachable: bool
    certificate: CertificateView | None
    clock: ClockView | None
    last_report: ReportView | None
    provisioning: RunView | None
    operation: RunView | None
    drain: DrainView | None
    drift: DriftView | None


class ServerList(BaseModel):
    """A page of servers; `next` is what to send as `after` for the page that follows."""

    items: list[ServerView]
    next: str | None


@router.post("/workspaces/{workspace_id}/vps", status_code=status.HTTP_201_CREATED)
async def create_server(
    workspace_id: uuid.UUID, new: NewServer, request: Request, response: Response, access: _Managing
) -> ServerView:
    """Ask for a server; it is provisioned in the background, and GET shows how far that has come."""
    await require_workspace(access.session, access.scope, workspace_id, hold=True)
    order = ServerOrder(workspace_id, new.provider, new.size, new.region)
    vps_id = await order_server(access.session, access.scope, parts_of(request), order)
    response.headers["Location"] = f"/api/v1/vps/{vps_id}"
    return ServerView.model_validate(await load_server(access.session, access.scope, vps_id))


@router.get("/workspaces/{workspace_id}/vps")
async def list_servers(
    workspace_id: uuid.UUID,
    access: _Reading,
    page: TenantsPage,
    status: ServerStatus | None = None,
    provider: Annotated[str | None, Query(max_length=50, pattern=_NAME)] = None,
) -> ServerList:
    """List a workspace's servers, without those that are deleted."""
    await require_workspace(access.session, access.scope, workspace_id)
    query = select(VpsServer).where(
        VpsServer.tenant_id == access.scope.tenant_id,
        VpsServer.workspace_id == workspace_id,
        VpsServer.status != "deleted",
    )
    if status is not None:
        query = query.where(VpsServer.status == status.value)
    if provider is not None:
        query = query.where(VpsServer.provider == provider)
    if page.after is not None:
        query = query.where(VpsServer.id > page.after)
    servers = (await access.session.scalars(query.order_by(VpsServer.id).limit(page.limit))).all()
    return ServerList(
        items=[ServerView.model_validate(server) for server in servers],
        next=page.next_after([server.id for server in servers]),
    )


@router.get("/vps/{vps_id}")
async def get_server(vps_id: uuid.UUID, request: Request, access: _Reading) -> ServerDetail:
    """Show a server: its rows, its last report, whether it can be reached, and the steps of its last run."""
    server = await load_server(access.session, access.scope, vps_id)
    health = await server_health(access.session, vps_id, parts_of(request).clock())
    return ServerDetail(
        **ServerView.model_validate(server).model_dump(),
        reachable=health is not None and health.reachable,
        certificate=_certificate(health),
        clock=_clock(health, parts_of(request).settings.clock_tolerance_seconds),
        last_report=_report(health),
        provisioning=await load_last_run(access.session, access.scope, vps_id, LIFE_KINDS),
        operation=await load_last_run(access.session, access.scope, vps_id, OPERATION_KINDS),
        drain=await _drain(access.session, server),
        drift=_drift(health),
    )


@router.delete("/vps/{vps_id}", status_code=status.HTTP_202_ACCEPTED)
async def delete_server(vps_id: uuid.UUID, access: _Managing, force: Force = False) -> ServerView:
    """Have a server removed, in the background; it must have no inboxes any more.

    It is drained before, and stays ready until it is empty; `GET` shows what is left.
    """
    await request_removal(access.session, tenant_id=access.scope.tenant_id, vps_id=vps_id, force=force)
    return ServerView.model_validate(await load_server(access.session, access.scope, vps_id))


async def load_server(session: AsyncSession, scope: TenantScope, vps_id: uuid.UUID) -> VpsServer:
    """Return the tenant's server. Raises `NotFound`."""
    server = await session.scalar(
        select(VpsServer).where(VpsServer.tenant_id == scope.tenant_id, VpsServer.id == vps_id)
    )
    if server is None:
        raise NotFound("There is no such server.")
    return server


async def _drain(session: AsyncSession, server: VpsServer) -> DrainView | None:
    if server.draining_since is None:
        return None
    return DrainView.model_validate(await drain_progress(session, server.id))


def _drift(health: ServerHealth | None) -> DriftView | None:
    if health is None or health.report is None or not health.report.HasField("configuration_drift"):
        return None
    seen = health.report.configuration_drift
    return DriftView(
        looked_at=moment(seen.looked_at_ms),
        paths=list(seen.paths),
        mended_at=moment(seen.mended_at_ms) if seen.mended_at_ms else None,
        mended_paths=list(seen.mended_paths),
    )


def _clock(health: ServerHealth | None, tolerance_seconds: int) -> ClockView | None:
    if health is None or health.clock_offset_ms is None or health.clock_measured_at is None:
        return None
    offset = health.clock_offset_ms / 1000
    return ClockView(
        offset_seconds=offset, measured_at=health.clock_measured_at, in_tolerance=abs(offset) <= tolerance_seconds
    )


def _certificate(health: ServerHealth | None) -> CertificateView | None:
    if health is None or health.report is None or not health.report.HasField("certificate_issue"):
        return None
    issue = health.report.certificate_issue
    return CertificateView(
        state=issue.state,
        detail=issue.detail,
        last_attempt_at=moment(issue.last_attempt_ms) if issue.last_attempt_ms else None,
        next_attempt_at=moment(issue.next_attempt_ms) if issue.next_attempt_ms else None,
        attempts_today=issue.attempts_today,
        failures=issue.failures,
        missing_names=list(issue.missing_names),
    )


def _report(health: ServerHealth | None) -> ReportView | None:
    if health is None or health.reported_at is None or health.received_at is None:
        return None
    return ReportView(
        reported_at=health.reported_at, received_at=health.received_at, health=health.report_fields() or {}
    )
