"""Claims on steps: who may act now, and the fencing that keeps everybody else from recording.

A claim is a random token on the step's row, with a time until which it is good. Whoever records a step names its token;
a row that no longer carries it belongs to someone else, and `ClaimLost` is raised (invariant 7 of ARCHITECTURE.md).
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Result, Run

#: How long a claim is good without being renewed; a worker that died is replaced after this.
CLAIM_LIFE = timedelta(seconds=30)


class ClaimLost(Exception):
    """Another worker owns the step now; stop, and record nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one step."""

    run_id: uuid.UUID
    position: int
    token: uuid.UUID
    attempts: int
    started_at: datetime


# The steps of a run are written when the first worker takes it up.
_ADD_STEP = text(
    "INSERT INTO pipeline_steps (run_id, tenant_id, position, name) VALUES (:run, :tenant, :position, :name)"
    " ON CONFLICT DO NOTHING"
)
# A run that is over is never opened again.
_OPEN_RUN = text(
    "UPDATE pipeline_runs SET state = 'running' WHERE id = :run AND state IN ('waiting', 'running')"
    " RETURNING tenant_id, kind, subject_id"
)
# The first step that is not done, if nobody works on it and it is not to be left alone for a while.
_CLAIM = text(
    "UPDATE pipeline_steps SET state = 'running', fencing_token = :token, claimed_until = now() + :life,"
    " attempts = attempts + 1, started_at = coalesce(started_at, now())"
    " WHERE run_id = :run AND (claimed_until IS NULL OR claimed_until <= now()) AND position ="
    " (SELECT min(position) FROM pipeline_steps WHERE run_id = :run AND state IN ('waiting', 'running'))"
    " AND EXISTS (SELECT FROM pipeline_runs WHERE id = :run AND state = 'running')"
    " RETURNING position, attempts, started_at"
)
_RESULTS = text("SELECT name, result FROM pipeline_steps WHERE run_id = :run AND state = 'done'")
_RENEW = text(
    "UPDATE pipeline_steps SET claimed_until = now() + :life"
    " WHERE run_id = :run AND position = :position AND fencing_token = :token RETURNING position"
)
_FINISH = text(
    "UPDATE pipeline_steps SET state = :state, result = CAST(:result AS jsonb), error = :error,"
    " finished_at = now(), fencing_token = NULL, claimed_until = NULL"
    " WHERE run_id = :run AND position = :position AND fencing_token = :token RETURNING position"
)
# `claimed_until` without a token: nobody works on it, and nobody should before then.
_RELEASE = text(
    "UPDATE pipeline_steps SET state = 'waiting', error = :reason, fencing_token = NULL, claimed_until = now() + :pause"
    " WHERE run_id = :run AND position = :position AND fencing_token = :token RETURNING position"
)
_CLOSE_RUN = text("UPDATE pipeline_runs SET state = :state, error = :error, finished_at = now() WHERE id = :run")
_IS_COMPLETE = text("SELECT NOT EXISTS (SELECT FROM pipeline_steps WHERE run_id = :run AND state <> 'done')")


async def open_run(session: AsyncSession, run_id: uuid.UUID, step_names: Sequence[str]) -> Run | None:
    """Mark the run as running, write its steps if they are not there, and return it; None when it is over."""
    row = (await session.execute(_OPEN_RUN, {"run": run_id})).one_or_none()
    if row is None:
        return None
    steps = [
        {"run": run_id, "tenant": row.tenant_id, "position": position, "name": name}
        for position, name in enumerate(step_names)
    ]
    await session.execute(_ADD_STEP, steps)
    results = {done.name: done.result for done in await session.execute(_RESULTS, {"run": run_id})}
    return Run(run_id, row.tenant_id, row.kind, row.subject_id, results)


async def claim_step(session: AsyncSession, run_id: uuid.UUID) -> Claim | None:
    """Claim the run's next step; None when there is none to be worked on now."""
    token = uuid.uuid4()
    row = (await session.execute(_CLAIM, {"run": run_id, "token": token, "life": CLAIM_LIFE})).one_or_none()
    return None if row is None else Claim(run_id, row.position, token, row.attempts, row.started_at)


async def renew(session: AsyncSession, claim: Claim) -> None:
    """Keep the claim for another `CLAIM_LIFE`; raise `ClaimLost` when it is not ours any more."""
    await _guarded(session, _RENEW, claim, life=CLAIM_LIFE)


async def record_done(session: AsyncSession, claim: Claim, result: Result) -> None:
    """Record the step as done, and the run with it when it was the last; raise `ClaimLost`."""
    await _guarded(session, _FINISH, claim, state="done", result=json.dumps(dict(result)), error=None)
    if await session.scalar(_IS_COMPLETE, {"run": claim.run_id}):
        await session.execute(_CLOSE_RUN, {"run": claim.run_id, "state": "done", "error": None})


async def record_failed(session: AsyncSession, claim: Claim, reason: str) -> None:
    """Record the step and its run as failed; raise `ClaimLost`."""
    await _guarded(session, _FINISH, claim, state="failed", result=None, error=reason)
    await session.execute(_CLOSE_RUN, {"run": claim.run_id, "state": "failed", "error": reason})


async def release(session: AsyncSession, claim: Claim, reason: str, pause: timedelta) -> None:
    """Give the step back, to be claimed again after `pause`; raise `ClaimLost`."""
    await _guarded(session, _RELEASE, claim, reason=reason, pause=pause)


async def _guarded(session: AsyncSession, statement: TextClause, claim: Claim, **values: object) -> None:
    key = {"run": claim.run_id, "position": claim.position, "token": claim.token}
    if (await session.execute(statement, {**key, **values})).one_or_none() is None:
        raise ClaimLost(f"step {claim.position} of run {claim.run_id} belongs to another worker now")
