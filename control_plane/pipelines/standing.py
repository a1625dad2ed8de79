"""How runs stand, for people: each with its steps and their times."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.models import PipelineRun, PipelineStep

#: Of a run that somebody works on, or will.
OPEN = frozenset({"waiting", "running", "needs_person", "undoing"})


@dataclass(frozen=True, slots=True)
class StepStanding:
    """One step: `reason` is why it waits, failed or is taken back; `looked_at_again` when it is tried next.

    While it is worked on, `looked_at_again` is None.
    """

    name: str
    state: str
    attempts: int
    reason: str | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    undo_started_at: dt.datetime | None
    undone_at: dt.datetime | None
    looked_at_again: dt.datetime | None


@dataclass(frozen=True, slots=True)
class RunStanding:
    """One run: `reason` says why it failed, is undone or waits for a person, and `remedy` what that person does."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    kind: str
    state: str
    reason: str | None
    remedy: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    steps: tuple[StepStanding, ...]

    @property
    def is_open(self) -> bool:
        """Whether it may still change."""
        return self.state in OPEN


async def runs_of(
    session: AsyncSession, tenant_id: uuid.UUID, subject_id: uuid.UUID, limit: int = 100
) -> Sequence[RunStanding]:
    """Return the runs about a server or inbox, newest first."""
    runs = await session.scalars(
        select(PipelineRun)
        .where(PipelineRun.tenant_id == tenant_id, PipelineRun.subject_id == subject_id)
        .order_by(PipelineRun.created_at.desc(), PipelineRun.id)
        .limit(limit)
        # One session may look again and again.
        .execution_options(populate_existing=True)
    )
    return [await _standing(session, run) for run in runs.all()]


async def _standing(session: AsyncSession, run: PipelineRun) -> RunStanding:
    steps = await session.scalars(
        select(PipelineStep)
        .where(PipelineStep.tenant_id == run.tenant_id, PipelineStep.run_id == run.id)
        .order_by(PipelineStep.position)
        .execution_options(populate_existing=True)
    )
    return RunStanding(
        id=run.id,
        tenant_id=run.tenant_id,
        kind=run.kind,
        state=run.state,
        reason=run.error,
        remedy=run.remedy,
        created_at=run.created_at,
        finished_at=run.finished_at,
        steps=tuple(map(_step, steps)),
    )


def _step(step: PipelineStep) -> StepStanding:
    return StepStanding(
        name=step.name,
        state=step.state,
        attempts=step.attempts,
        reason=step.error,
        started_at=step.started_at,
        finished_at=step.finished_at,
        undo_started_at=step.undo_started_at,
        undone_at=step.undone_at,
        looked_at_again=step.claimed_until if step.fencing_token is None else None,
    )
