"""`vps preflight`: have a server looked at again, and show what was found."""

import asyncio
import time
import uuid
from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy import func, select

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json
from control_plane.cli.tables import print_table
from control_plane.errors import NotFound, Unavailable
from control_plane.operators.acts import Act, record
from control_plane.preflight.results import PreflightReport, load_report
from control_plane.provisioning.preflight_requests import request_preflight
from db.models import VpsServer

Server = Annotated[uuid.UUID, typer.Argument(help="The server's id.")]

#: The agent takes up to ten seconds for a port that swallows packets, and name servers five for each question.
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.3


def preflight(server: Server, as_json: Json = False, instance: Instance = "main") -> None:
    """Look at a server again, before or while it is used: port 25, reverse DNS, blocklists, clock."""
    report = asyncio.run(_look(instance, server))
    if as_json:
        print_json(asdict(report))
        return
    print_table([{name: getattr(check, name) for name in ("kind", "verdict", "detail")} for check in report.checks])


async def _look(instance: str, vps_id: uuid.UUID) -> PreflightReport:
    """Ask for it and wait until the worker has looked. Raises `NotFound`, `Conflict` and `Unavailable`."""
    async with system_session(instance) as session:
        tenant_id = await session.scalar(select(VpsServer.tenant_id).where(VpsServer.id == vps_id))
        if tenant_id is None:
            raise NotFound("There is no such server.")
        run_id = await request_preflight(session, tenant_id=tenant_id, vps_id=vps_id)
        subject = {"tenant_id": tenant_id, "vps_id": vps_id, "run_id": run_id}
        await record(session, this_user(), Act.PREFLIGHT, subject)
        asked_at = (await session.execute(select(func.now()))).scalar_one()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        async with system_session(instance) as session:
            report = await load_report(session, tenant_id, vps_id)
        if report and report.checks and all(check.checked_at > asked_at for check in report.checks):
            return report
        await asyncio.sleep(_LOOK_SECONDS)
    raise Unavailable(f"The server was not looked at within {_PATIENCE_SECONDS:.0f} s; its run says what it waits for.")
