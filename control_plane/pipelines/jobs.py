"""The procrastinate app: a job for each kind of run, and the job that takes over what dead workers left.

Tasks are named as the requirement names them: `vps.provision`, `dns.verify`. Heartbeats tell a dead worker from a slow
one; they are no fence, and the claims on steps are (claims.py).
"""

import asyncio
import logging
import uuid

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.middleware import AsyncCallNext
from procrastinate.worker import Worker as JobRunner

from control_plane.pipelines.dispatch import PIPELINES_QUEUE
from control_plane.pipelines.worker import Worker
from control_plane.telemetry.instruments import JOBS

#: Seconds between heartbeats, and without one before a worker counts as dead.
HEARTBEAT_SECONDS = 5.0
STALLED_SECONDS = 20.0
#: A worker that stands still in a transaction (a heartbeat, a renewed claim) loses it, or nobody could take over.
IDLE_SECONDS = 10.0
#: New jobs are notified; one that waited for another's lock is found by looking.
POLL_SECONDS = 0.5
#: Runs that one process works on at a time; nearly all of it is waiting for others.
CONCURRENCY = 20
#: Of its own, so that stalled jobs are found even when all places for pipelines are taken.
UPKEEP_QUEUE = "upkeep"

#: Seconds between tries to note that a job has ended; a database that is away for longer ends the process's part in it.
_NOTE_AGAIN_AFTER = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

_log = logging.getLogger(__name__)


class PersistentJobs(JobManager):
    """Notes ends of jobs again when the database did not take them.

    Procrastinate tries once. A job whose end was lost stays its worker's for as long as that lives, and its lock holds
    up all that follows.
    """

    async def finish_job_by_id_async(self, job_id: int, status: Status, delete_job: bool) -> None:
        """Note the end. Raises `ConnectorException` when the database is away for about a minute."""
        for number, seconds in enumerate(_NOTE_AGAIN_AFTER):
            try:
                return await super().finish_job_by_id_async(job_id, status, delete_job)
            except ConnectorException as error:
                # The job is not being done any more: a try before was heard, or another worker has taken it over.
                if number > 0 and isinstance(error.__cause__, psycopg.errors.RaiseException):
                    return None
                _log.warning("the end of job %d was not noted: %s", job_id, type(error.__cause__).__name__)
            await asyncio.sleep(seconds)
        return await super().finish_job_by_id_async(job_id, status, delete_job)


def make_app(system_url: str) -> App:
    """Return an app on the system role's database, with the periodic jobs of its own upkeep."""
    app = App(connector=PsycopgConnector(conninfo=system_url, min_size=1, max_size=4))
    app.job_manager = PersistentJobs(app.connector)

    # No `lock`: if the worker that runs it died, nobody could take it over (procrastinate issue 1408).
    @app.periodic(cron="* * * * * */15")
    @app.task(name="pipelines.retry_stalled", queue=UPKEEP_QUEUE, queueing_lock="pipelines.retry_stalled")
    async def retry_stalled(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
            _log.warning("taking over job %s, whose worker is gone", job.call_string)
            await _take_over(app, job)

    return app


async def _take_over(app: App, job: Job) -> None:
    """Have the job done by another worker; one whose twin waits already is dropped, for its lock holds that up."""
    try:
        await app.job_manager.retry_job(job)
    except UniqueViolation:
        await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)


async def count_job(do: AsyncCallNext, context: JobContext, _runner: JobRunner) -> object:
    """Do a job, and count what came of it: a middleware of procrastinate's workers."""
    outcome = "failed"
    try:
        result = await do()
        outcome = "done"
    except asyncio.CancelledError:
        outcome = "stopped"
        raise
    finally:
        JOBS.labels(context.job.task_name, outcome).inc()
    return result


def add_pipelines(app: App, worker: Worker) -> None:
    """Add a task for each kind of run that the worker knows."""
    for kind in worker.pipelines:
        _add_pipeline(app, worker, kind)


def _add_pipeline(app: App, worker: Worker, kind: str) -> None:
    @app.task(name=kind, queue=PIPELINES_QUEUE)
    async def run_pipeline(run_id: str) -> None:
        await worker.work_on(uuid.UUID(run_id), kind)
