"""Claims on steps: who may act now, and the fencing that keeps everybody else from recording.

A claim is a random token on the step's row, with a time until which it is good. Whoever records a step must hold its
token; a row that no longer carries it belongs to someone else, and so does each step of a run that is over because
another run took its subject away from it: then `ClaimLost` is raised (invariant 7 of ARCHITECTURE.md).
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import AskPerson, Result, Run

#: How long a claim is good without being renewed; a worker that died is replaced after this.
CLAIM_LIFE = timedelta(seconds=30)
#: Seconds after a renewal in which an order may be begun; well before somebody else can have the claim.
FENCED_SECONDS = 20.0


class ClaimLost(Exception):
    """Another worker owns the step now; stop, and record nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one step, or (`undoing`) to take it back; `started_at` is when that was first tried."""

    run_id: uuid.UUID
    position: int
    token: uuid.UUID
    attempts: int
    started_at: datetime
    name: str = ""
    undoing: bool = False


# The steps of a run are written when the first worker takes it up, and it keeps them whatever a later version has.
_ADD_STEPS = text(
    "INSERT INTO pipeline_steps (run_id, tenant_id, position, name)"
    " SELECT :run, :tenant, place - 1, name FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS steps (name, place)"
    " WHERE NOT EXISTS (SELECT FROM pipeline_steps WHERE run_id = :run) ON CONFLICT DO NOTHING"
)
# A run that is over is never opened again.
_OPEN_RUN = text(
    "UPDATE pipeline_runs SET state = CASE state WHEN 'waiting' THEN 'running' ELSE state END"
    " WHERE id = :run AND state IN ('waiting', 'running', 'needs_person', 'undoing')"
    " RETURNING tenant_id, kind, subject_id"
)
# The last step that is to be undone, or else the first that is not done, if nobody works on it and it is not to be left
# alone for a while. Its own state is asked again: it may have been recorded while the row was locked.
_CLAIM = text(
    "UPDATE pipeline_steps SET fencing_token = :token, claimed_until = now() + :life, attempts = attempts + 1,"
    " state = CASE state WHEN 'undoing' THEN 'undoing' ELSE 'running' END,"
    " started_at = coalesce(started_at, now()),"
    " undo_started_at = CASE state WHEN 'undoing' THEN coalesce(undo_started_at, now()) END"
    " WHERE run_id = :run AND (claimed_until IS NULL OR claimed_until <= now())"
    " AND state IN ('waiting', 'running', 'undoing') AND position ="
    " (SELECT coalesce(max(position) FILTER (WHERE state = 'undoing'),"
    "   min(position) FILTER (WHERE state IN ('waiting', 'running'))) FROM pipeline_steps WHERE run_id = :run)"
    " AND EXISTS (SELECT FROM pipeline_runs WHERE id = :run AND state IN ('running', 'needs_person', 'undoing'))"
    " RETURNING position, name, attempts, coalesce(undo_started_at, started_at) AS since, state = 'undoing' AS undoing"
)
_RESULTS = text(
    "SELECT name, result FROM pipeline_steps"
    " WHERE run_id = :run AND state IN ('done', 'undoing') AND result IS NOT NULL"
)
# The run is locked too, so that nobody can end it between this and the record; first, as `_OPEN_RUN` does.
_HOLD = text(
    "SELECT FROM pipeline_runs r JOIN pipeline_steps s ON s.run_id = r.id"
    " WHERE s.run_id = :run AND s.position = :position AND s.fencing_token = :token"
    " AND r.state IN ('running', 'needs_person', 'undoing') FOR UPDATE"
)
_RENEW = text("UPDATE pipeline_steps SET claimed_until = now() + :life WHERE run_id = :run AND position = :position")
_DONE = text(
    "UPDATE pipeline_steps SET state = 'done', result = CAST(:result AS jsonb), error = NULL, finished_at = now(),"
    " fencing_token = NULL, claimed_until = NULL WHERE run_id = :run AND position = :position"
)
_UNDONE = text(
    "UPDATE pipeline_steps SET state = 'undone', undone_at = now(), fencing_token = NULL, claimed_until = NULL"
    " WHERE run_id = :run AND position = :position"
)
_FAILED = text(
    "UPDATE pipeline_steps SET state = :state, error = :reason, finished_at = now(), fencing_token = NULL,"
    " claimed_until = NULL WHERE run_id = :run AND position = :position"
)
# `claimed_until` without a token: nobody works on it, and nobody should before then.
_RELEASE = text(
    "UPDATE pipeline_steps SET state = CASE state WHEN 'undoing' THEN 'undoing' ELSE 'waiting' END, error = :reason,"
    " fencing_token = NULL, claimed_until = now() + :pause WHERE run_id = :run AND position = :position"
)
# However long the person takes, the step's patience begins anew.
_RESTART_PATIENCE = text(
    "UPDATE pipeline_steps SET undo_started_at = NULL,"
    " started_at = CASE state WHEN 'undoing' THEN started_at END WHERE run_id = :run AND position = :position"
)
_UNDO_ALL = text("UPDATE pipeline_steps SET state = 'undoing' WHERE run_id = :run AND state = 'done'")
_MOVE_RUN = text("UPDATE pipeline_runs SET state = :state, error = :error, remedy = :remedy WHERE id = :run")
_GO_ON = text(
    "UPDATE pipeline_runs SET state = :state, remedy = NULL, error = CASE WHEN :undoing THEN error END"
    " WHERE id = :run AND state = 'needs_person' RETURNING id"
)
_CLOSE_RUN = text(
    "UPDATE pipeline_runs SET state = :state, remedy = NULL, finished_at = now(), error = coalesce(:error, error)"
    " WHERE id = :run"
)
_IS_COMPLETE = text("SELECT NOT EXISTS (SELECT FROM pipeline_steps WHERE run_id = :run AND state <> 'done')")
_IS_UNDONE = text("SELECT NOT EXISTS (SELECT FROM pipeline_steps WHERE run_id = :run AND state = 'undoing')")


async def open_run(session: AsyncSession, run_id: uuid.UUID, step_names: Sequence[str]) -> Run | None:
    """Mark the run as running, write its steps if they are not there, and return it; None when it is over."""
    row = (await session.execute(_OPEN_RUN, {"run": run_id})).one_or_none()
    if row is None:
        return None
    await session.execute(_ADD_STEPS, {"run": run_id, "tenant": row.tenant_id, "names": list(step_names)})
    results = {done.name: done.result for done in await session.execute(_RESULTS, {"run": run_id})}
    return Run(run_id, row.tenant_id, row.kind, row.subject_id, results)


async def claim_step(session: AsyncSession, run_id: uuid.UUID) -> Claim | None:
    """Claim the run's next step; None when there is none to be worked on now."""
    token = uuid.uuid4()
    row = (await session.execute(_CLAIM, {"run": run_id, "token": token, "life": CLAIM_LIFE})).one_or_none()
    if row is None:
        return None
    return Claim(run_id, row.position, token, row.attempts, row.since, row.name, row.undoing)


async def hold(session: AsyncSession, claim: Claim) -> None:
    """Lock run and step until the transaction ends; raise `ClaimLost` when they are not ours any more.

    Whatever else is written with a step's record is written after this, so that all lock in the same order.
    """
    key = {"run": claim.run_id, "position": claim.position, "token": claim.token}
    if (await session.execute(_HOLD, key)).one_or_none() is None:
        raise ClaimLost(f"step {claim.position} of run {claim.run_id} belongs to another worker now")


async def renew(session: AsyncSession, claim: Claim) -> None:
    """Keep the claim for another `CLAIM_LIFE`; raise `ClaimLost` when it is not ours any more."""
    await _guarded(session, _RENEW, claim, life=CLAIM_LIFE)


async def record_done(session: AsyncSession, claim: Claim, result: Result) -> bool:
    """Record the step as done or undone, and the run with it when it was the last; raise `ClaimLost`.

    Returns whether a person was waited for until now.
    """
    if claim.undoing:
        await _guarded(session, _UNDONE, claim)
    else:
        await _guarded(session, _DONE, claim, result=json.dumps(dict(result)))
    went_on = await _go_on(session, claim)
    if await session.scalar(_IS_UNDONE if claim.undoing else _IS_COMPLETE, {"run": claim.run_id}):
        state = "undone" if claim.undoing else "done"
        await session.execute(_CLOSE_RUN, {"run": claim.run_id, "state": state, "error": None})
    return went_on


async def record_failed(session: AsyncSession, claim: Claim, reason: str) -> None:
    """Record the step and its run as failed; raise `ClaimLost`."""
    await _guarded(session, _FAILED, claim, state="failed", reason=reason)
    await session.execute(_CLOSE_RUN, {"run": claim.run_id, "state": "failed", "error": reason})


async def record_undoing(session: AsyncSession, claim: Claim, reason: str) -> None:
    """Record that the step cannot be done, so that it and all before it are taken back; raise `ClaimLost`."""
    await _guarded(session, _FAILED, claim, state="undoing", reason=reason)
    await session.execute(_UNDO_ALL, {"run": claim.run_id})
    await session.execute(_MOVE_RUN, {"run": claim.run_id, "state": "undoing", "error": reason, "remedy": None})


async def record_person(session: AsyncSession, claim: Claim, asked: AskPerson) -> None:
    """Record that the run waits for a person; raise `ClaimLost`."""
    await _guarded(session, _RELEASE, claim, reason=asked.reason, pause=timedelta(seconds=asked.seconds))
    await session.execute(_RESTART_PATIENCE, {"run": claim.run_id, "position": claim.position})
    row = {"run": claim.run_id, "state": "needs_person", "error": asked.reason, "remedy": asked.remedy}
    await session.execute(_MOVE_RUN, row)


async def release(session: AsyncSession, claim: Claim, reason: str, pause: timedelta) -> bool:
    """Give the step back, to be claimed again after `pause`; raise `ClaimLost`.

    Returns whether a person was waited for until now.
    """
    await _guarded(session, _RELEASE, claim, reason=reason, pause=pause)
    return await _go_on(session, claim)


async def _go_on(session: AsyncSession, claim: Claim) -> bool:
    state = {"state": "undoing" if claim.undoing else "running", "undoing": claim.undoing}
    return (await session.execute(_GO_ON, {"run": claim.run_id, **state})).one_or_none() is not None


async def _guarded(session: AsyncSession, statement: TextClause, claim: Claim, **values: object) -> None:
    await hold(session, claim)
    await session.execute(statement, {"run": claim.run_id, "position": claim.position, **values})
