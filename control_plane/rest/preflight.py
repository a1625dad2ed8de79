"""What is known about a server's fitness to send: its address, its names, port 25, its clock."""

import datetime as dt
import uuid
from typing import Annotated

from fastapi import APIRouter, status
from pydantic import BaseModel, ConfigDict

from control_plane.errors import NotFound
from control_plane.preflight.results import PreflightReport, load_report
from control_plane.provisioning.preflight_requests import request_preflight
from control_plane.rest.access import Access, transaction
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission

router = APIRouter(tags=["vps"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_SERVERS)]


class CheckView(BaseModel):
    """One check; `about` is what was looked at or asked.

    `kind` is port_25, reverse_dns, reverse_dns_v6, blocklist, blocklist_v6 or clock; nothing about IPv6 (`_v6`) keeps a
    server from use. The verdict is passed, warned, unknown (nobody could tell), pending (asked again) or failed, since
    that moment.
    """

    model_config = ConfigDict(from_attributes=True)

    kind: str
    about: str
    verdict: str
    detail: str
    since: dt.datetime
    checked_at: dt.datetime


class PreflightView(BaseModel):
    """All checks of a server and the worst of their verdicts; none, and no verdict, before it was first looked at."""

    model_config = ConfigDict(from_attributes=True)

    vps_id: uuid.UUID
    verdict: str | None
    address: str | None
    checks: list[CheckView]


class PreflightRun(BaseModel):
    """The run that looks at the server; GET shows what it finds."""

    vps_id: uuid.UUID
    run_id: uuid.UUID


@router.get("/vps/{vps_id}/preflight")
async def get_preflight(vps_id: uuid.UUID, access: _Reading) -> PreflightView:
    """Show what was found when the server was last looked at."""
    return PreflightView.model_validate(await _load(access, vps_id))


@router.post("/vps/{vps_id}/preflight", status_code=status.HTTP_202_ACCEPTED)
async def look_again(vps_id: uuid.UUID, access: _Managing) -> PreflightRun:
    """Have the server looked at again, in the background; one that waits for port 25 goes on when that is open."""
    run_id = await request_preflight(access.session, tenant_id=access.scope.tenant_id, vps_id=vps_id)
    return PreflightRun(vps_id=vps_id, run_id=run_id)


async def _load(access: Access, vps_id: uuid.UUID) -> PreflightReport:
    report = await load_report(access.session, access.scope.tenant_id, vps_id)
    if report is None:
        raise NotFound("There is no such server.")
    return report
