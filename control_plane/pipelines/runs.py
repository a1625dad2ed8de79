"""Ask for a pipeline to run: a row in the caller's transaction, and a hint."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Run

#: Notified when a run is asked for; whoever misses it finds the row by polling.
RUNS_CHANNEL = "pipeline_runs"

_START = text(
    "WITH run AS (INSERT INTO pipeline_runs (id, tenant_id, kind, subject_id) VALUES (:id, :tenant, :kind, :subject))"
    " SELECT pg_notify(:channel, '')"
)
_SUPERSEDE = text(
    "UPDATE pipeline_runs SET state = 'failed', error = 'superseded by ' || CAST(:kind AS text), remedy = NULL,"
    " finished_at = now()"
    " WHERE subject_id = :subject AND id <> :run AND state IN ('waiting', 'running', 'needs_person', 'undoing')"
)
# Only a step that nobody works on: who holds a claim looks at the world anyway.
_LOOK_AGAIN = text(
    "UPDATE pipeline_steps s SET claimed_until = NULL FROM pipeline_runs r"
    " WHERE r.id = s.run_id AND r.tenant_id = :tenant AND r.id = :run AND s.tenant_id = :tenant"
    " AND r.state IN ('waiting', 'running', 'needs_person', 'undoing') AND s.fencing_token IS NULL"
    " AND s.state IN ('waiting', 'undoing')"
)
_OPEN = text(
    "SELECT kind FROM pipeline_runs WHERE tenant_id = :tenant AND subject_id = :subject"
    " AND state IN ('waiting', 'running', 'needs_person', 'undoing') AND kind = coalesce(:kind, kind)"
    " ORDER BY created_at LIMIT 1"
)
_HINT = text("SELECT pg_notify(:channel, '')")


async def start_run(session: AsyncSession, tenant_id: uuid.UUID, kind: str, subject_id: uuid.UUID) -> uuid.UUID:
    """Leave a run of `kind` for the worker and return its id; it begins once the caller's transaction commits."""
    run_id = uuid.uuid4()
    run = {"id": run_id, "tenant": tenant_id, "kind": kind, "subject": subject_id, "channel": RUNS_CHANNEL}
    await session.execute(_START, run)
    return run_id


async def open_run_kind(
    session: AsyncSession, tenant_id: uuid.UUID, subject_id: uuid.UUID, kind: str | None = None
) -> str | None:
    """Return the kind of a run about the subject that is not over, the oldest; of `kind` alone where one is given."""
    key = {"tenant": tenant_id, "subject": subject_id, "kind": kind}
    found: str | None = await session.scalar(_OPEN, key)
    return found


async def supersede_runs(session: AsyncSession, run: Run) -> None:
    """End all other runs for the subject of this one, which takes it away from them."""
    await session.execute(_SUPERSEDE, {"kind": run.kind, "subject": run.subject_id, "run": run.id})


async def look_again(session: AsyncSession, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Have a run that waits, for a person or for time to pass, looked at at once; one that is over stays so."""
    await session.execute(_LOOK_AGAIN, {"tenant": tenant_id, "run": run_id})
    await session.execute(_HINT, {"channel": RUNS_CHANNEL})
