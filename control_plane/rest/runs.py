"""How far the last pipeline of a server or inbox has come."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Self

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.tenancy.scope import TenantScope
from db.by_time import Place, newest_first
from db.models import PipelineRun, PipelineStep


class StepView(BaseModel):
    """One step: waiting, running, done, failed, undoing or undone; `error` is why it waits, failed or is taken back."""

    name: str
    state: str
    attempts: int
    error: str | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    undo_started_at: dt.datetime | None
    undone_at: dt.datetime | None
    #: When a step that waits is tried next.
    looked_at_again: dt.datetime | None

    @classmethod
    def of(cls, step: PipelineStep) -> Self:
        """Return the view of a row."""
        return cls(
            name=step.name,
            state=step.state,
            attempts=step.attempts,
            error=step.error,
            started_at=step.started_at,
            finished_at=step.finished_at,
            undo_started_at=step.undo_started_at,
            undone_at=step.undone_at,
            looked_at_again=step.claimed_until if step.fencing_token is None else None,
        )


class RunView(BaseModel):
    """One run, with its steps in order.

    States: waiting, running, done, failed; `undoing` and `undone` when it could not go on and takes back what it did;
    `needs_person` when someone has to do what `remedy` says, because of `error`, and may then resume it.
    """

    id: uuid.UUID
    kind: str
    state: str
    error: str | None
    remedy: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    steps: list[StepView]


async def load_last_run(
    session: AsyncSession, scope: TenantScope, subject_id: uuid.UUID, kinds: Collection[str] | None = None
) -> RunView | None:
    """Return the newest run about a server or inbox, of one of the kinds where they are given, if there was one."""
    query = select(PipelineRun).where(PipelineRun.tenant_id == scope.tenant_id, PipelineRun.subject_id == subject_id)
    if kinds is not None:
        query = query.where(PipelineRun.kind.in_(kinds))
    run = await session.scalar(query.order_by(PipelineRun.created_at.desc()).limit(1))
    return None if run is None else await _view(session, scope, run)


async def load_runs(
    session: AsyncSession, scope: TenantScope, subject_id: uuid.UUID, after: Place | None, limit: int
) -> list[RunView]:
    """Return a page of the runs about a server or inbox, newest first."""
    query = select(PipelineRun).where(PipelineRun.tenant_id == scope.tenant_id, PipelineRun.subject_id == subject_id)
    page = newest_first(query, PipelineRun.created_at, PipelineRun.id, after).limit(limit)
    return await _views(session, scope, (await session.scalars(page)).all())


async def load_run(session: AsyncSession, scope: TenantScope, run_id: uuid.UUID) -> RunView:
    """Return one run. Raises `NotFound`."""
    query = select(PipelineRun).where(PipelineRun.tenant_id == scope.tenant_id, PipelineRun.id == run_id)
    run = await session.scalar(query)
    if run is None:
        raise NotFound("There is no such run.")
    return await _view(session, scope, run)


async def _view(session: AsyncSession, scope: TenantScope, run: PipelineRun) -> RunView:
    [view] = await _views(session, scope, [run])
    return view


async def _views(session: AsyncSession, scope: TenantScope, runs: Sequence[PipelineRun]) -> list[RunView]:
    steps = await session.scalars(
        select(PipelineStep)
        .where(PipelineStep.tenant_id == scope.tenant_id, PipelineStep.run_id.in_([run.id for run in runs]))
        .order_by(PipelineStep.position)
    )
    of_runs = defaultdict[uuid.UUID, list[StepView]](list)
    for step in steps:
        of_runs[step.run_id].append(StepView.of(step))
    return [
        RunView(
            id=run.id,
            kind=run.kind,
            state=run.state,
            error=run.error,
            remedy=run.remedy,
            created_at=run.created_at,
            finished_at=run.finished_at,
            steps=of_runs[run.id],
        )
        for run in runs
    ]
