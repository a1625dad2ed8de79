"""Work on a run: claim its steps one after the other, perform them, record what came of each.

No database session is held while a step runs. A claim is renewed beside the step for as long as that takes; when it is
lost, the step is cancelled. So is one that does not end within its ceiling, which would keep its claim for ever: it has
failed this once. What it may still have under way, in a thread that nobody can stop, is given the time of a claim
before anybody looks again, as after the death of a worker.

A step that waits is polled here for a while and then given back, so that a worker's place is free for other runs; the
dispatcher brings it again. A run that cannot go on takes its steps back, from the last one on, or waits for a person,
as its pipeline says; a step that cannot be undone always waits for a person.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock, utc_now
from control_plane.pipelines.claims import (
    CLAIM_LIFE,
    Claim,
    ClaimLost,
    claim_step,
    hold,
    open_run,
    record_done,
    record_failed,
    record_person,
    record_undoing,
    release,
    renew,
)
from control_plane.pipelines.step import (
    AskPerson,
    Cause,
    Done,
    Failed,
    Outcome,
    Pipeline,
    Resolution,
    Run,
    Step,
    Wait,
    ceiling_of,
)
from control_plane.telemetry.instruments import STEP_SECONDS, STEPS
from db.session import Database

#: Seconds that a waiting step is polled before it is given back.
POLLED_SECONDS = 60.0
_LONGEST_BACK_OFF = 60.0

_log = logging.getLogger(__name__)


class BrokenOff(Exception):
    """An attempt at a step reached the step's ceiling and was cancelled."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Performs runs of the pipelines it knows."""

    database: Database
    pipelines: Mapping[str, Pipeline[Any]]
    clock: Clock = utc_now

    async def work_on(self, run_id: uuid.UUID, kind: str) -> None:
        """Perform the run's steps until it is over, must wait, or belongs to another worker."""
        pipeline = self.pipelines[kind]
        try:
            while await self._next_step(run_id, pipeline):
                pass
        except ClaimLost as lost:
            _log.warning("%s", lost)

    async def _next_step(self, run_id: uuid.UUID, pipeline: Pipeline[Any]) -> bool:
        """Perform one step, or take one back; return whether the next may follow."""
        async with self.database.system() as session:
            run = await open_run(session, run_id, [step.name for step in pipeline.steps])
            claim = await claim_step(session, run_id) if run else None
        if run is None or claim is None:
            return False
        run = replace(run, fence=partial(self._renew, claim), hold=partial(hold, claim=claim))
        try:
            with STEP_SECONDS.labels(run.kind).time():
                outcome = self._judge(pipeline, claim, await self._perform(pipeline, run, claim))
        except asyncio.CancelledError:
            # This process is stopping: another need not wait until the claim runs out.
            with contextlib.suppress(ClaimLost):
                await asyncio.shield(self._record(pipeline, run, claim, Wait("the worker stopped", 0.0)))
            raise
        outcome = await self._record_or_wait(pipeline, run, claim, outcome)
        STEPS.labels(run.kind, _outcome_name(claim, outcome)).inc()
        return isinstance(outcome, Done) or _begins_undo(pipeline, claim, outcome)

    async def _perform(self, pipeline: Pipeline[Any], run: Run, claim: Claim) -> Outcome:
        step = _step_of(pipeline, claim)
        if step is None:
            return AskPerson(f"this version knows no step {claim.name}", "install the version that began the run")
        working = asyncio.create_task(_poll(step, pipeline.context(run), claim))
        keeping = asyncio.create_task(self._keep(claim))
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
            return await working
        finally:
            working.cancel()
            keeping.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)

    async def _keep(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(CLAIM_LIFE.total_seconds() / 3)
            await self._renew(claim)

    async def _renew(self, claim: Claim) -> None:
        async with self.database.system() as session:
            await renew(session, claim)

    def _judge(self, pipeline: Pipeline[Any], claim: Claim, outcome: Outcome) -> Outcome:
        """Turn a wait that has lasted too long into a failure."""
        step = _step_of(pipeline, claim)
        if isinstance(outcome, Wait) and step is not None and self.clock() >= claim.started_at + step.patience:
            minutes = step.patience.total_seconds() / 60
            return Failed(f"{outcome.reason}; given up after {minutes:.0f} minutes", Cause.GIVEN_UP)
        return outcome

    async def _record_or_wait(self, pipeline: Pipeline[Any], run: Run, claim: Claim, outcome: Outcome) -> Outcome:
        """Record what came of the step or, where that cannot be written, that it is tried again; return which it was.

        Left to itself the claim would run out and the step begin anew, every half minute, without an end to its
        patience or a word to anybody. While the database is away there is nothing to be done but that.
        """
        try:
            await self._record(pipeline, run, claim, outcome)
        except ClaimLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with what the step wants written
            _log.exception("what came of step %s cannot be written, and it will be tried again", claim.name)
            reason = f"what came of {claim.name} cannot be written: {type(error).__name__}"
            outcome = self._judge(pipeline, claim, Wait(reason, _back_off(claim)))
            await self._record(pipeline, run, claim, outcome)
        return outcome

    async def _record(self, pipeline: Pipeline[Any], run: Run, claim: Claim, outcome: Outcome) -> None:
        async with self.database.system() as session:
            await hold(session, claim)
            match outcome:
                case Done():
                    applied = await outcome.apply(session) if outcome.apply else None
                    went_on = await record_done(session, claim, {**outcome.result, **(applied or {})})
                    await _tell_going_on(session, pipeline, run, claim, went_on=went_on)
                case Wait():
                    went_on = await release(session, claim, outcome.reason, timedelta(seconds=outcome.seconds))
                    await _tell_going_on(session, pipeline, run, claim, went_on=went_on)
                case AskPerson():
                    await record_person(session, claim, outcome)
                    await pipeline.on_person(session, run, outcome.reason)
                case Failed():
                    await _resolve(session, pipeline, run, claim, outcome)
        _log.info("%s %s: %s %s", run.kind, run.subject_id, claim.name, _in_words(claim, outcome))


def _step_of(pipeline: Pipeline[Any], claim: Claim) -> Step[Any] | None:
    """Return the claimed step: by its name, for an earlier version may have begun the run with other steps."""
    return next((step for step in pipeline.steps if step.name == claim.name), None)


def _resolution(pipeline: Pipeline[Any], claim: Claim, failed: Failed) -> Resolution:
    return Resolution.ASK_PERSON if claim.undoing else pipeline.resolutions[failed.cause]


def _begins_undo(pipeline: Pipeline[Any], claim: Claim, outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and _resolution(pipeline, claim, outcome) is Resolution.UNDO


async def _resolve(session: AsyncSession, pipeline: Pipeline[Any], run: Run, claim: Claim, failed: Failed) -> None:
    match _resolution(pipeline, claim, failed):
        case Resolution.UNDO:
            await record_undoing(session, claim, failed.reason)
            await pipeline.on_failure(session, run, failed.reason)
        case Resolution.ASK_PERSON:
            await record_person(session, claim, AskPerson(failed.reason, pipeline.remedy))
            await pipeline.on_person(session, run, failed.reason)
        case Resolution.STOP:
            await record_failed(session, claim, failed.reason)
            await pipeline.on_failure(session, run, failed.reason)


async def _tell_going_on(
    session: AsyncSession, pipeline: Pipeline[Any], run: Run, claim: Claim, *, went_on: bool
) -> None:
    """Take the reason for a person away again; while undoing, the subject keeps the reason of the failure."""
    if went_on and not claim.undoing:
        await pipeline.on_person(session, run, None)


async def _poll(step: Step[Any], context: object, claim: Claim) -> Outcome:
    """Run or undo the step until it is over, or has waited for `POLLED_SECONDS` or wants to wait for longer.

    An error is a reason to try again later, until the step's patience is at an end; so is an attempt without an end.
    """
    deadline = time.monotonic() + POLLED_SECONDS
    perform = step.undo if claim.undoing else step.run
    while True:
        try:
            outcome = await _within(ceiling_of(step), perform(context))
        except ClaimLost:
            raise
        except BrokenOff as error:
            _log.warning("step %s %s; it will be tried again", step.name, error)
            return Wait(f"{step.name} {error}", max(_back_off(claim), CLAIM_LIFE.total_seconds()))
        except Exception as error:  # noqa: BLE001 - the one place where a step's error ends
            _log.exception("step %s failed and will be tried again", step.name)
            return Wait(f"{step.name} does not succeed: {type(error).__name__}", _back_off(claim))
        if not isinstance(outcome, Wait) or time.monotonic() + outcome.seconds > deadline:
            return outcome
        await asyncio.sleep(outcome.seconds)


async def _within(ceiling: timedelta, attempt: Awaitable[Outcome]) -> Outcome:
    """Await an attempt at a step; raise `BrokenOff` at its ceiling, and what the attempt raises."""
    limit = asyncio.timeout(ceiling.total_seconds())
    try:
        async with limit:
            return await attempt
    except TimeoutError:
        if not limit.expired():
            raise
        raise BrokenOff(f"did not end within {ceiling.total_seconds() / 60:.0f} minutes and was broken off") from None


def _back_off(claim: Claim) -> float:
    """Return the seconds until a step is tried again that could not be done for an error."""
    return min(2.0 ** min(claim.attempts, 10), _LONGEST_BACK_OFF)


def _outcome_name(claim: Claim, outcome: Outcome) -> str:
    match outcome:
        case Done():
            return "undone" if claim.undoing else "done"
        case Wait():
            return "waits"
        case AskPerson():
            return "asks_person"
        case Failed():
            return "failed"


def _in_words(claim: Claim, outcome: Outcome) -> str:
    match outcome:
        case Done():
            return "is undone" if claim.undoing else "is done"
        case Wait():
            return f"waits: {outcome.reason}"
        case AskPerson():
            return f"waits for a person: {outcome.reason}"
        case Failed():
            return f"failed: {outcome.reason}"
