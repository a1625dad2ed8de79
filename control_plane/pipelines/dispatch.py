"""Turn runs into jobs: at the hint, and every few seconds for what a lost hint missed.

A run is a row; its job may be lost, or end while the run has to wait. So each look finds every open run on which nobody
works and which need not be left alone, and defers a job for it, unless one waits already. Deferring twice does no harm:
a job that waits keeps its twin out, and a job that finds nothing to do ends.
"""

import contextlib
import logging
from typing import Any, cast

from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued
from psycopg import AsyncConnection
from sqlalchemy import Row, text

from control_plane.pipelines.runs import RUNS_CHANNEL
from db.session import Database

PIPELINES_QUEUE = "pipelines"
_POLL_SECONDS = 5.0

_log = logging.getLogger(__name__)

# Runs for inboxes of one domain write the same records, so they share the lock of the domain. Each run asked for is a
# hint, and of a thousand at once not every one may cost a thousand tries to defer.
_RUNS_TO_DO = text(
    "SELECT r.id, r.kind, coalesce(i.domain_id, r.subject_id) AS lock FROM pipeline_runs r"
    " LEFT JOIN inboxes i ON i.id = r.subject_id"
    " WHERE r.state IN ('waiting', 'running', 'needs_person', 'undoing') AND NOT EXISTS (SELECT FROM pipeline_steps s"
    "  WHERE s.run_id = r.id AND s.claimed_until > now())"
    " AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.queueing_lock = r.id::text AND j.status = 'todo')"
    " ORDER BY r.created_at"
)


async def dispatch(database: Database, app: App) -> None:
    """Defer jobs for runs until cancelled."""
    async with database.listening(RUNS_CHANNEL) as connection:
        driver = cast("AsyncConnection[Any]", (await connection.get_raw_connection()).driver_connection)
        while True:
            await defer_runs(database, app)
            # Ends at the first notification, or when it is time to look again.
            async for _ in driver.notifies(timeout=_POLL_SECONDS, stop_after=1):
                pass


async def defer_runs(database: Database, app: App) -> None:
    """Defer a job for each run that can be worked on now."""
    async with database.system() as session:
        runs = (await session.execute(_RUNS_TO_DO)).all()
    for run in runs:
        await _defer(app, run)


async def _defer(app: App, run: Row[Any]) -> None:
    job = app.configure_task(
        run.kind, queue=PIPELINES_QUEUE, lock=str(run.lock), queueing_lock=str(run.id), allow_unknown=False
    )
    with contextlib.suppress(AlreadyEnqueued):
        await job.defer_async(run_id=str(run.id))
