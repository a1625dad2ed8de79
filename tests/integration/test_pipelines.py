"""Runs of small pipelines on a real PostgreSQL: claims, fencing, waiting, failing, and the job runner."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from procrastinate import App
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.embedded.postgres import OWNER
from control_plane.pipelines import claims
from control_plane.pipelines import dispatch as dispatching
from control_plane.pipelines.dispatch import dispatch
from control_plane.pipelines.jobs import POLL_SECONDS, add_pipelines, make_app
from control_plane.pipelines.runs import look_again, start_run, supersede_runs
from control_plane.pipelines.step import (
    AskPerson,
    Cause,
    Done,
    Failed,
    NothingToUndo,
    Outcome,
    Pipeline,
    Resolution,
    Run,
    Step,
    Wait,
)
from control_plane.pipelines.worker import Worker
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant

KIND = "vps.provision"


@dataclass
class Scripted:
    """A step that gives the next of its outcomes each time; an exception is raised."""

    name: str
    outcomes: list[Outcome | Exception]
    patience: timedelta = timedelta(minutes=1)
    seen: list[Run] = field(default_factory=list)
    undo_outcomes: list[Outcome] = field(default_factory=list)
    undone: list[Run] = field(default_factory=list)

    async def run(self, context: Run) -> Outcome:
        self.seen.append(context)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def undo(self, context: Run) -> Outcome:
        self.undone.append(context)
        return self.undo_outcomes.pop(0) if self.undo_outcomes else Done()


@dataclass
class Held(NothingToUndo):
    """A step that goes on only when it is let."""

    name: str = "held"
    patience: timedelta = timedelta(minutes=1)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, _context: Run) -> Outcome:
        self.begun.set()
        await self.let_go.wait()
        return Done({"by": "the held step"})


@dataclass
class Hanging(Held):
    """One that never goes on if it is not let, and is known not to take long."""

    ceiling: timedelta = timedelta(seconds=0.2)

    async def undo(self, _context: object) -> Outcome:
        await self.let_go.wait()
        return Done()


def worker_for(
    database: Database,
    *steps: Step[Run],
    failures: list[str] | None = None,
    asked: list[str | None] | None = None,
    resolution: Resolution = Resolution.STOP,
) -> Worker:
    async def on_failure(_session: AsyncSession, _run: Run, reason: str) -> None:
        if failures is not None:
            failures.append(reason)

    async def on_person(_session: AsyncSession, _run: Run, reason: str | None) -> None:
        if asked is not None:
            asked.append(reason)

    resolutions = dict.fromkeys(Cause, resolution)
    pipeline = Pipeline(KIND, steps, lambda run: run, on_failure, on_person, resolutions, "mend it, then resume")
    return Worker(database, {KIND: pipeline})


async def new_run(database: Database, tenant: SomeTenant, subject: uuid.UUID | None = None) -> uuid.UUID:
    async with database.tenant(tenant.id) as session:
        return await start_run(session, tenant.id, KIND, subject or uuid.uuid4())


async def rows(database: Database, query: str, **values: object) -> Sequence[Row[Any]]:
    async with database.system() as session:
        return (await session.execute(text(query), values)).all()


async def run_state(database: Database, run_id: uuid.UUID) -> tuple[str, str | None]:
    (run,) = await rows(database, "SELECT state, error FROM pipeline_runs WHERE id = :id", id=run_id)
    return run.state, run.error


async def step_rows(database: Database, run_id: uuid.UUID) -> Sequence[Row[Any]]:
    return await rows(
        database,
        "SELECT name, state, attempts, result, error, started_at, finished_at, fencing_token, claimed_until"
        " FROM pipeline_steps WHERE run_id = :id ORDER BY position",
        id=run_id,
    )


async def let_claims_run_out(database: Database) -> None:
    async with database.system() as session:
        await session.execute(text("UPDATE pipeline_steps SET claimed_until = now() WHERE claimed_until IS NOT NULL"))


async def test_steps_run_in_order_and_see_the_results_before_them(
    system_database: Database, api_database: Database, tenant: SomeTenant
) -> None:
    first, second = Scripted("first", [Done({"ip": "192.0.2.1"})]), Scripted("second", [Done()])
    run_id = await new_run(api_database, tenant)

    await worker_for(system_database, first, second).work_on(run_id, KIND)

    assert second.seen[0].results == {"first": {"ip": "192.0.2.1"}}
    assert await run_state(system_database, run_id) == ("done", None)
    steps = await step_rows(system_database, run_id)
    assert [(step.name, step.state, step.attempts) for step in steps] == [("first", "done", 1), ("second", "done", 1)]
    assert all(step.started_at <= step.finished_at and step.fencing_token is None for step in steps)


async def test_what_a_step_writes_is_recorded_with_it_or_not_at_all(
    system_database: Database, tenant: SomeTenant
) -> None:
    async def rename(session: AsyncSession) -> Mapping[str, Any]:
        await session.execute(text("UPDATE tenants SET name = 'renamed' WHERE id = :id"), {"id": tenant.id})
        return {"renamed": True}

    async def break_off(session: AsyncSession) -> None:
        await rename(session)
        raise ConnectionError("a secret detail")

    step = Scripted("write", [Done(apply=break_off), Done({"a": 1}, rename)])
    worker = worker_for(system_database, step)
    run_id = await new_run(system_database, tenant)

    await worker.work_on(run_id, KIND)
    (waiting,) = await step_rows(system_database, run_id)
    assert (waiting.state, waiting.error) == ("waiting", "what came of write cannot be written: ConnectionError")
    name = "SELECT name FROM tenants WHERE id = :id"
    assert [row.name for row in await rows(system_database, name, id=tenant.id)] == ["Penguin Post"]
    await let_claims_run_out(system_database)
    await worker.work_on(run_id, KIND)

    assert [row.name for row in await rows(system_database, name, id=tenant.id)] == ["renamed"]
    assert (await step_rows(system_database, run_id))[0].result == {"a": 1, "renamed": True}


async def test_what_can_never_be_written_ends_with_the_steps_patience(
    system_database: Database, tenant: SomeTenant
) -> None:
    async def refuse(_session: AsyncSession) -> None:
        raise ValueError("a secret detail")

    failures: list[str] = []
    step = Scripted("write", [Done(apply=refuse)], patience=timedelta(0))
    run_id = await new_run(system_database, tenant)

    await worker_for(system_database, step, failures=failures).work_on(run_id, KIND)

    assert failures == ["what came of write cannot be written: ValueError; given up after 0 minutes"]
    assert await run_state(system_database, run_id) == ("failed", failures[0])


async def test_a_paused_worker_that_comes_back_records_nothing(system_database: Database, tenant: SomeTenant) -> None:
    held, after = Held(), Scripted("after", [Done()])
    paused = worker_for(system_database, held, after)
    run_id = await new_run(system_database, tenant)
    coming_back = asyncio.create_task(paused.work_on(run_id, KIND))
    await held.begun.wait()
    await let_claims_run_out(system_database)

    other = worker_for(system_database, Scripted("held", [Done({"by": "the other worker"})]), after)
    await other.work_on(run_id, KIND)
    held.let_go.set()
    await coming_back

    steps = await step_rows(system_database, run_id)
    assert steps[0].result == {"by": "the other worker"}
    assert steps[0].attempts == 2
    assert len(after.seen) == 1
    assert await run_state(system_database, run_id) == ("done", None)


async def test_a_worker_that_loses_its_claim_stops_its_step(
    system_database: Database, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.pipelines.worker.CLAIM_LIFE", timedelta(seconds=0.3))
    held = Held()
    run_id = await new_run(system_database, tenant)
    working = asyncio.create_task(worker_for(system_database, held).work_on(run_id, KIND))
    await held.begun.wait()

    async with system_database.system() as session:
        await session.execute(text("UPDATE pipeline_steps SET fencing_token = gen_random_uuid()"))
    await asyncio.wait_for(working, 10)

    assert (await step_rows(system_database, run_id))[0].state == "running"


async def test_a_step_that_is_worked_on_is_not_claimed_again(system_database: Database, tenant: SomeTenant) -> None:
    held, other = Held(), Scripted("held", [Done()])
    run_id = await new_run(system_database, tenant)
    working = asyncio.create_task(worker_for(system_database, held).work_on(run_id, KIND))
    await held.begun.wait()

    await worker_for(system_database, other).work_on(run_id, KIND)
    held.let_go.set()
    await working

    assert other.seen == []


async def test_a_worker_that_is_stopped_gives_its_step_back_at_once(
    system_database: Database, tenant: SomeTenant
) -> None:
    held, other = Held(), Scripted("held", [Done()])
    run_id = await new_run(system_database, tenant)
    working = asyncio.create_task(worker_for(system_database, held).work_on(run_id, KIND))
    await held.begun.wait()

    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    await worker_for(system_database, other).work_on(run_id, KIND)

    assert await run_state(system_database, run_id) == ("done", None)


async def test_a_worker_that_is_stopped_ends_although_its_step_is_not_its_any_more(
    system_database: Database, tenant: SomeTenant
) -> None:
    held = Held()
    run_id = await new_run(system_database, tenant)
    working = asyncio.create_task(worker_for(system_database, held).work_on(run_id, KIND))
    await held.begun.wait()
    async with system_database.system() as session:
        await session.execute(text("UPDATE pipeline_steps SET fencing_token = gen_random_uuid()"))

    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_step_waits_in_place_and_then_goes_on(system_database: Database, tenant: SomeTenant) -> None:
    step = Scripted("wait", [Wait("not yet", 0.01), Wait("not yet", 0.01), Done()])
    run_id = await new_run(system_database, tenant)

    await worker_for(system_database, step).work_on(run_id, KIND)

    assert len(step.seen) == 3
    assert (await step_rows(system_database, run_id))[0].attempts == 1


async def test_a_long_wait_is_given_back_until_its_time(system_database: Database, tenant: SomeTenant) -> None:
    step = Scripted("wait", [Wait("the provider wants an hour", 3600.0), Done()])
    worker = worker_for(system_database, step)
    run_id = await new_run(system_database, tenant)

    await worker.work_on(run_id, KIND)
    await worker.work_on(run_id, KIND)

    (waiting,) = await step_rows(system_database, run_id)
    assert (waiting.state, waiting.error, len(step.seen)) == ("waiting", "the provider wants an hour", 1)
    assert waiting.claimed_until - datetime.now(UTC) > timedelta(minutes=59)
    await let_claims_run_out(system_database)
    await worker.work_on(run_id, KIND)
    assert await run_state(system_database, run_id) == ("done", None)


async def test_patience_ends(system_database: Database, tenant: SomeTenant) -> None:
    step = Scripted("wait", [Wait("nobody came", 3600.0)], patience=timedelta(0))
    failures: list[str] = []
    run_id = await new_run(system_database, tenant)

    await worker_for(system_database, step, failures=failures).work_on(run_id, KIND)

    assert failures == ["nobody came; given up after 0 minutes"]
    assert await run_state(system_database, run_id) == ("failed", failures[0])


async def test_an_error_is_tried_again_later(system_database: Database, tenant: SomeTenant) -> None:
    step = Scripted("flaky", [OSError("a secret detail"), Done()])
    worker = worker_for(system_database, step)
    run_id = await new_run(system_database, tenant)

    await worker.work_on(run_id, KIND)
    (waiting,) = await step_rows(system_database, run_id)
    assert (waiting.state, waiting.error) == ("waiting", "flaky does not succeed: OSError")
    await let_claims_run_out(system_database)
    await worker.work_on(run_id, KIND)

    assert await run_state(system_database, run_id) == ("done", None)


async def test_a_step_that_does_not_end_is_broken_off_and_tried_again_once_a_claim_would_have_run_out(
    system_database: Database, tenant: SomeTenant
) -> None:
    step = Hanging()
    worker = worker_for(system_database, step)
    run_id = await new_run(system_database, tenant)

    await asyncio.wait_for(worker.work_on(run_id, KIND), 10)
    await worker.work_on(run_id, KIND)

    (waiting,) = await step_rows(system_database, run_id)
    assert (waiting.state, waiting.attempts, waiting.fencing_token) == ("waiting", 1, None)
    assert waiting.error == "held did not end within 0 minutes and was broken off"
    assert waiting.claimed_until - datetime.now(UTC) > claims.CLAIM_LIFE - timedelta(seconds=5)
    step.let_go.set()
    await let_claims_run_out(system_database)
    await worker.work_on(run_id, KIND)
    assert await run_state(system_database, run_id) == ("done", None)


async def test_a_step_that_never_ends_is_given_up_and_its_undo_is_broken_off_likewise(
    system_database: Database, tenant: SomeTenant
) -> None:
    step = Hanging(patience=timedelta(0))
    failures: list[str] = []
    asked: list[str | None] = []
    worker = worker_for(system_database, step, failures=failures, asked=asked, resolution=Resolution.UNDO)
    run_id = await new_run(system_database, tenant)

    await asyncio.wait_for(worker.work_on(run_id, KIND), 10)

    reason = "held did not end within 0 minutes and was broken off; given up after 0 minutes"
    assert (failures, asked) == ([reason], [reason])
    assert (await run_state(system_database, run_id))[0] == "needs_person"


async def test_a_time_out_within_a_step_is_the_steps_own(system_database: Database, tenant: SomeTenant) -> None:
    step = Scripted("slow", [TimeoutError("a secret detail")])
    run_id = await new_run(system_database, tenant)

    await worker_for(system_database, step).work_on(run_id, KIND)

    assert (await step_rows(system_database, run_id))[0].error == "slow does not succeed: TimeoutError"


async def test_a_failure_ends_the_run_and_later_steps_do_not_run(system_database: Database, tenant: SomeTenant) -> None:
    after = Scripted("after", [Done()])
    failures: list[str] = []
    worker = worker_for(system_database, Scripted("no", [Failed("it cannot be")]), after, failures=failures)
    run_id = await new_run(system_database, tenant)

    await worker.work_on(run_id, KIND)
    await worker.work_on(run_id, KIND)

    assert (failures, after.seen) == (["it cannot be"], [])
    assert await run_state(system_database, run_id) == ("failed", "it cannot be")


async def test_a_superseded_run_is_over(system_database: Database, tenant: SomeTenant) -> None:
    subject = uuid.uuid4()
    step = Scripted("step", [Done()])
    old = await new_run(system_database, tenant, subject)
    unrelated = await new_run(system_database, tenant)
    async with system_database.system() as session:
        await supersede_runs(session, Run(uuid.uuid4(), tenant.id, "vps.decommission", subject, {}))

    await worker_for(system_database, step).work_on(old, KIND)

    assert step.seen == []
    assert await run_state(system_database, old) == ("failed", "superseded by vps.decommission")
    assert await run_state(system_database, unrelated) == ("waiting", None)


async def test_a_run_that_cannot_go_on_takes_its_steps_back_from_the_last_one_on(
    system_database: Database, tenant: SomeTenant
) -> None:
    undone: list[str] = []

    def noting(name: str, outcome: Outcome) -> Scripted:
        async def note(_session: AsyncSession) -> None:
            undone.append(name)

        return Scripted(name, [outcome], undo_outcomes=[Wait("not yet", 3600.0), Done(apply=note)])

    steps = [noting("first", Done({"ip": "192.0.2.1"})), noting("second", Done()), noting("third", Failed("no"))]
    after = Scripted("after", [Done()])
    failures: list[str] = []
    worker = worker_for(system_database, *steps, after, failures=failures, resolution=Resolution.UNDO)
    run_id = await new_run(system_database, tenant)

    await worker.work_on(run_id, KIND)
    assert await run_state(system_database, run_id) == ("undoing", "no")
    for _ in range(3):
        await let_claims_run_out(system_database)
        await worker.work_on(run_id, KIND)

    assert (undone, failures, after.seen, after.undone) == (["third", "second", "first"], ["no"], [], [])
    assert steps[1].undone[-1].results["first"] == {"ip": "192.0.2.1"}
    assert await run_state(system_database, run_id) == ("undone", "no")
    rows_ = await rows(
        system_database,
        "SELECT state, undo_started_at <= undone_at AS timed FROM pipeline_steps WHERE run_id = :id ORDER BY position",
        id=run_id,
    )
    assert [tuple(row) for row in rows_] == [("undone", True)] * 3 + [("waiting", None)]


async def test_a_run_waits_for_a_person_and_goes_on_when_told(system_database: Database, tenant: SomeTenant) -> None:
    step = Scripted("order", [AskPerson("the quota is reached", "ask for a higher one"), Wait("hm", 60.0), Done()])
    asked: list[str | None] = []
    worker = worker_for(system_database, step, asked=asked)
    run_id = await new_run(system_database, tenant)

    await worker.work_on(run_id, KIND)
    await worker.work_on(run_id, KIND)
    (run,) = await rows(system_database, "SELECT state, error, remedy FROM pipeline_runs WHERE id = :id", id=run_id)
    assert tuple(run) == ("needs_person", "the quota is reached", "ask for a higher one")
    assert len(step.seen) == 1
    async with system_database.system() as session:
        await session.execute(text("UPDATE pipeline_steps SET undo_started_at = now() - interval '1 day'"))
        await look_again(session, tenant.id, run_id)
    await worker.work_on(run_id, KIND)
    assert await run_state(system_database, run_id) == ("running", None)
    await let_claims_run_out(system_database)
    await worker.work_on(run_id, KIND)

    assert asked == ["the quota is reached", None]
    assert await run_state(system_database, run_id) == ("done", None)


async def test_however_long_a_person_takes_patience_begins_anew(system_database: Database, tenant: SomeTenant) -> None:
    step = Scripted("order", [AskPerson("no", "mend it"), Wait("soon", 60.0)])
    worker = worker_for(system_database, step)
    run_id = await new_run(system_database, tenant)
    await worker.work_on(run_id, KIND)

    later = replace(worker, clock=lambda: datetime.now(UTC) + timedelta(seconds=50))
    await let_claims_run_out(system_database)
    await later.work_on(run_id, KIND)

    assert await run_state(system_database, run_id) == ("running", None)


async def test_what_cannot_be_undone_waits_for_a_person_and_is_undone_then(
    system_database: Database, tenant: SomeTenant
) -> None:
    step = Scripted("order", [Failed("refused")], undo_outcomes=[Failed("it is protected"), Done()])
    worker = worker_for(system_database, step, resolution=Resolution.UNDO)
    run_id = await new_run(system_database, tenant)

    await worker.work_on(run_id, KIND)
    assert await run_state(system_database, run_id) == ("needs_person", "it is protected")
    async with system_database.system() as session:
        await look_again(session, tenant.id, run_id)
    await worker.work_on(run_id, KIND)

    assert (await run_state(system_database, run_id))[0] == "undone"


async def test_a_step_of_a_run_that_was_superseded_meanwhile_is_not_recorded_and_its_fence_holds(
    system_database: Database, tenant: SomeTenant
) -> None:
    held = Held()
    subject = uuid.uuid4()
    run_id = await new_run(system_database, tenant, subject)
    fenced: list[Run] = []
    first = Scripted("first", [Done()])
    working = asyncio.create_task(worker_for(system_database, first, held).work_on(run_id, KIND))
    await held.begun.wait()
    fenced.extend(first.seen)

    async with system_database.system() as session:
        await supersede_runs(session, Run(uuid.uuid4(), tenant.id, "vps.decommission", subject, {}))
    held.let_go.set()
    await working

    assert [step.state for step in await step_rows(system_database, run_id)] == ["done", "running"]
    with pytest.raises(claims.ClaimLost):
        await fenced[0].fence()


async def test_a_run_keeps_the_steps_it_began_with(system_database: Database, tenant: SomeTenant) -> None:
    second = Scripted("second", [Wait("later", 3600.0), Done()])
    run_id = await new_run(system_database, tenant)
    await worker_for(system_database, Scripted("first", [Done()]), second).work_on(run_id, KIND)
    added = Scripted("added", [Done()])

    await let_claims_run_out(system_database)
    await worker_for(system_database, Scripted("first", []), added, second).work_on(run_id, KIND)

    assert await run_state(system_database, run_id) == ("done", None)
    assert added.seen == []


async def test_a_step_that_this_version_does_not_know_is_left_to_a_person(
    system_database: Database, tenant: SomeTenant
) -> None:
    run_id = await new_run(system_database, tenant)
    await worker_for(system_database, Scripted("old", [Wait("later", 3600.0)])).work_on(run_id, KIND)
    await let_claims_run_out(system_database)

    await worker_for(system_database, Scripted("new", [Done()])).work_on(run_id, KIND)

    assert await run_state(system_database, run_id) == ("needs_person", "this version knows no step old")


@asynccontextmanager
async def job_runner(database: FreshDatabase, system_database: Database, worker: Worker) -> AsyncIterator[None]:
    app = make_app(database.url("penguin_system"))
    add_pipelines(app, worker)
    async with app.open_async():
        tasks = [
            asyncio.create_task(dispatch(system_database, app)),
            asyncio.create_task(
                app.run_worker_async(
                    concurrency=5,
                    install_signal_handlers=False,
                    shutdown_graceful_timeout=0,
                    fetch_job_polling_interval=POLL_SECONDS,
                    delete_jobs="successful",
                )
            ),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    """Poll: rows are changed by another task, and PostgreSQL has no event for that."""
    async with asyncio.timeout(20):
        while True:
            if await look():
                return
            await asyncio.sleep(0.02)


async def test_the_job_runner_takes_up_what_is_asked_for_and_what_was_missed(
    database: FreshDatabase, system_database: Database, api_database: Database, tenant: SomeTenant
) -> None:
    step = Scripted("step", [Done()] * 3)
    before = await new_run(api_database, tenant)

    async with job_runner(database, system_database, worker_for(system_database, step)):

        async def is_done(run_id: uuid.UUID) -> bool:
            return (await run_state(system_database, run_id))[0] == "done"

        await eventually(lambda: is_done(before))
        hinted = await new_run(api_database, tenant)
        await eventually(lambda: is_done(hinted))


async def test_a_run_whose_job_waits_already_costs_no_further_look(
    database: FreshDatabase, system_database: Database, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferred: list[uuid.UUID] = []
    defer = dispatching._defer

    async def count(app: App, run: Row[Any]) -> None:
        deferred.append(run.id)
        await defer(app, run)

    monkeypatch.setattr(dispatching, "_defer", count)
    app = make_app(database.url("penguin_system"))
    add_pipelines(app, worker_for(system_database))
    runs = [await new_run(system_database, tenant), await new_run(system_database, tenant)]
    async with app.open_async():
        await dispatching.defer_runs(system_database, app)
        runs.append(await new_run(system_database, tenant))
        await dispatching.defer_runs(system_database, app)
    assert deferred == runs


async def test_two_runs_for_one_subject_never_run_side_by_side(
    database: FreshDatabase, system_database: Database, tenant: SomeTenant
) -> None:
    held = Held()
    subject = uuid.uuid4()
    first = await new_run(system_database, tenant, subject)

    async with job_runner(database, system_database, worker_for(system_database, held)):
        await held.begun.wait()
        second = await new_run(system_database, tenant, subject)
        await eventually(lambda: _has_waiting_job(system_database, second))
        assert await run_state(system_database, second) == ("waiting", None)
        held.let_go.set()

        async def both_done() -> bool:
            return all([(await run_state(system_database, run))[0] == "done" for run in (first, second)])

        await eventually(both_done)


_REFUSES_ONE_END = """
CREATE SEQUENCE ends;
CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('ends') = 1 THEN RAISE EXCEPTION 'not now'; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER refuse_one BEFORE DELETE ON procrastinate_jobs FOR EACH ROW WHEN (OLD.queue_name = 'pipelines')
    EXECUTE FUNCTION refuse_one();
"""


async def test_a_job_whose_end_the_database_did_not_take_at_once_holds_nothing_up(
    database: FreshDatabase, system_database: Database, tenant: SomeTenant
) -> None:
    async with await psycopg.AsyncConnection.connect(database.url(OWNER), autocommit=True) as owner:
        await owner.execute(_REFUSES_ONE_END)
    subject = uuid.uuid4()
    runs = [await new_run(system_database, tenant, subject) for _ in range(2)]

    async with job_runner(database, system_database, worker_for(system_database, Scripted("step", [Done()] * 2))):

        async def both_done() -> bool:
            return all([(await run_state(system_database, run))[0] == "done" for run in runs])

        await eventually(both_done)


async def _has_waiting_job(database: Database, run_id: uuid.UUID) -> bool:
    found = await rows(database, "SELECT FROM procrastinate_jobs WHERE queueing_lock = :run", run=str(run_id))
    return len(found) == 1


async def test_a_claim_is_renewed_only_by_who_holds_it(system_database: Database, tenant: SomeTenant) -> None:
    run_id = await new_run(system_database, tenant)
    async with system_database.system() as session:
        await claims.open_run(session, run_id, ["only"])
        claim = await claims.claim_step(session, run_id)
    assert claim is not None
    stranger = claims.Claim(claim.run_id, claim.position, uuid.uuid4(), claim.attempts, claim.started_at)

    async with system_database.system() as session:
        await claims.renew(session, claim)
        with pytest.raises(claims.ClaimLost):
            await claims.renew(session, stranger)
