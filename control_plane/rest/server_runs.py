"""What was done to a server and is being done, and letting a run go on that waits for a person."""

import uuid
from typing import Annotated

from fastapi import APIRouter, status
from pydantic import BaseModel
from sqlalchemy import select

from control_plane.errors import Conflict, NotFound
from control_plane.pipelines.runs import look_again
from control_plane.rest.access import Access, transaction
from control_plane.rest.pages import TenantsPage, in_time
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.runs import RunView, load_run, load_runs
from control_plane.tenancy.permissions import Permission
from db.models import PipelineRun, VpsServer

router = APIRouter(tags=["vps"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_SERVERS)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_SERVERS)]


class RunList(BaseModel):
    """A page of runs; `next` is what to send as `after` for the page that follows."""

    items: list[RunView]
    next: str | None


@router.get("/vps/{vps_id}/runs")
async def list_runs(vps_id: uuid.UUID, access: _Reading, page: TenantsPage) -> RunList:
    """Show what was done to a server and what is being done, step by step, newest first."""
    query = select(VpsServer.id).where(VpsServer.tenant_id == access.scope.tenant_id, VpsServer.id == vps_id)
    if await access.session.scalar(query) is None:
        raise NotFound("There is no such server.")
    runs = await load_runs(access.session, access.scope, vps_id, page.behind(uuid.UUID), page.limit)
    return RunList(items=runs, next=page.next_after([in_time(run.created_at, run.id) for run in runs]))


@router.post("/vps/{vps_id}/runs/{run_id}/resume", status_code=status.HTTP_202_ACCEPTED)
async def resume_run(vps_id: uuid.UUID, run_id: uuid.UUID, access: _Managing) -> RunView:
    """Have a run that waits for a person looked at again now, for that person has done what it waits for."""
    query = select(PipelineRun.state).where(
        PipelineRun.tenant_id == access.scope.tenant_id, PipelineRun.id == run_id, PipelineRun.subject_id == vps_id
    )
    state = await access.session.scalar(query)
    if state is None:
        raise NotFound("There is no such run.")
    if state != "needs_person":
        raise Conflict(f"The run is {state}; it does not wait for a person.")
    await look_again(access.session, access.scope.tenant_id, run_id)
    return await load_run(access.session, access.scope, run_id)
