"""Work on a run: claim its steps one after the other, perform them, record what came of each.

No database session is held while a step runs. A claim is renewed beside the step for as long as that takes; when it is
lost, the step is cancelled. A step that waits is polled here for a while and then given back, so that a worker's place
is free for other runs; the dispatcher brings it again.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from control_plane.clock import Clock, utc_now
from control_plane.pipelines.claims import (
    CLAIM_LIFE,
    Claim,
    ClaimLost,
    claim_step,
    open_run,
    record_done,
    record_failed,
    release,
    renew,
)
from control_plane.pipelines.step import Done, Failed, Outcome, Pipeline, Run, Step, Wait
from db.session import Database

#: Seconds that a waiting step is polled before it is given back.
POLLED_SECONDS = 60.0
_LONGEST_BACK_OFF = 60.0

_log = logging.getLogger(__name__)


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
        """Perform one step; return whether it is done, so that the next one may follow."""
        async with self.database.system() as session:
            run = await open_run(session, run_id, [step.name for step in pipeline.steps])
            claim = await claim_step(session, run_id) if run else None
        if run is None or claim is None:
            return False
        step = pipeline.steps[claim.position]
        try:
            outcome = self._judge(step, claim, await self._perform(step, pipeline.context(run), claim))
        except asyncio.CancelledError:
            # This process is stopping: another need not wait until the claim runs out.
            await asyncio.shield(self._record(pipeline, run, claim, Wait("the worker stopped", 0.0)))
            raise
        await self._record(pipeline, run, claim, outcome)
        return isinstance(outcome, Done)

    async def _perform(self, step: Step[Any], context: object, claim: Claim) -> Outcome:
        working = asyncio.create_task(_poll(step, context, claim.attempts))
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
            async with self.database.system() as session:
                await renew(session, claim)

    def _judge(self, step: Step[Any], claim: Claim, outcome: Outcome) -> Outcome:
        """Turn a wait that has lasted too long into a failure."""
        if isinstance(outcome, Wait) and self.clock() >= claim.started_at + step.patience:
            return Failed(f"{outcome.reason}; given up after {step.patience.total_seconds() / 60:.0f} minutes")
        return outcome

    async def _record(self, pipeline: Pipeline[Any], run: Run, claim: Claim, outcome: Outcome) -> None:
        async with self.database.system() as session:
            match outcome:
                case Done():
                    applied = await outcome.apply(session) if outcome.apply else None
                    await record_done(session, claim, {**outcome.result, **(applied or {})})
                case Wait():
                    await release(session, claim, outcome.reason, timedelta(seconds=outcome.seconds))
                case Failed():
                    await record_failed(session, claim, outcome.reason)
                    await pipeline.on_failure(session, run, outcome.reason)
        step = pipeline.steps[claim.position].name
        _log.info("%s %s: %s %s", run.kind, run.subject_id, step, _in_words(outcome))


async def _poll(step: Step[Any], context: object, attempts: int) -> Outcome:
    """Run the step until it is over, or until it has waited for `POLLED_SECONDS` or wants to wait for longer.

    An error is a reason to try again later, until the step's patience is at an end.
    """
    deadline = time.monotonic() + POLLED_SECONDS
    while True:
        try:
            outcome = await step.run(context)
        except Exception as error:  # noqa: BLE001 - the one place where a step's error ends
            _log.exception("step %s failed and will be tried again", step.name)
            back_off = min(2.0 ** min(attempts, 10), _LONGEST_BACK_OFF)
            return Wait(f"{step.name} does not succeed: {type(error).__name__}", back_off)
        if not isinstance(outcome, Wait) or time.monotonic() + outcome.seconds > deadline:
            return outcome
        await asyncio.sleep(outcome.seconds)


def _in_words(outcome: Outcome) -> str:
    match outcome:
        case Done():
            return "is done"
        case Wait():
            return f"waits: {outcome.reason}"
        case Failed():
            return f"failed: {outcome.reason}"
