"""Forget events and their deliveries once they have been kept for so long, and endpoints that were deleted."""

from datetime import timedelta

from procrastinate import App
from sqlalchemy import text

from control_plane.pipelines.jobs import UPKEEP_QUEUE
from db.pages import in_pages
from db.session import Database

KEPT = timedelta(days=30)
#: Events forgotten in one transaction, and transactions of one run.
PAGE = 1000
MOST_PAGES = 100

# Deliveries go with them.
_FORGET_EVENTS = text("""
DELETE FROM tenant_events e
USING (SELECT id FROM tenant_events
       WHERE recorded_at < now() - CAST(:kept AS interval)
       ORDER BY recorded_at
       LIMIT :page
       FOR UPDATE SKIP LOCKED) AS old
WHERE e.id = old.id
""")
_FORGET_ENDPOINTS = text("DELETE FROM webhook_endpoints WHERE deleted_at IS NOT NULL")
_FORGET_SECRETS = text(
    "UPDATE webhook_endpoints SET previous_secret_sealed = NULL, previous_secret_until = NULL"
    " WHERE previous_secret_until < now()"
)


async def forget_webhooks(database: Database) -> int:
    """Forget what is due, so many events at a time; return how many events there were."""
    async with database.system() as session:
        await session.execute(_FORGET_ENDPOINTS)
        await session.execute(_FORGET_SECRETS)
    return await in_pages(database, _FORGET_EVENTS, {"kept": KEPT}, PAGE, MOST_PAGES)


def add_webhook_jobs(app: App, database: Database) -> None:
    """Add `webhooks.forget`, every five minutes."""

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="webhooks.forget", queue=UPKEEP_QUEUE, queueing_lock="webhooks.forget")
    async def webhooks_forgotten(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await forget_webhooks(database)
