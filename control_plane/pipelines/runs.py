"""Ask for a pipeline to run: a row in the caller's transaction, and a hint."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Run

#: Notified when a run is asked for; whoever misses it finds the row by polling.
RUNS_CHANNEL = "pipeline_runs"

_INSERT_RUN = text("INSERT INTO pipeline_runs (id, tenant_id, kind, subject_id) VALUES (:id, :tenant, :kind, :subject)")
_SUPERSEDE = text(
    "UPDATE pipeline_runs SET state = 'failed', error = 'superseded by ' || CAST(:kind AS text), finished_at = now()"
    " WHERE subject_id = :subject AND id <> :run AND state IN ('waiting', 'running')"
)
_HINT = text("SELECT pg_notify(:channel, '')")


async def start_run(session: AsyncSession, tenant_id: uuid.UUID, kind: str, subject_id: uuid.UUID) -> uuid.UUID:
    """Leave a run of `kind` for the worker and return its id; it begins once the caller's transaction commits."""
    run_id = uuid.uuid4()
    run = {"id": run_id, "tenant": tenant_id, "kind": kind, "subject": subject_id}
    await session.execute(_INSERT_RUN, run)
    await session.execute(_HINT, {"channel": RUNS_CHANNEL})
    return run_id


async def supersede_runs(session: AsyncSession, run: Run) -> None:
    """End all other runs for the subject of this one, which takes it away from them."""
    await session.execute(_SUPERSEDE, {"kind": run.kind, "subject": run.subject_id, "run": run.id})
