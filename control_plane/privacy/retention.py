"""How long things are kept: one table of rules, applied by a job every hour, so many rows at a time.

Not here are what has a job of its own: idempotency keys and kept answers (a day, messages/forget_keys.py), events that
tenants are told of, with their deliveries (30 days, webhooks/forget.py), and values over time (rings,
monitoring/samples.py). Deeds are kept as long as their tenant: a chain cannot lose its beginning and still be checked.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta

from procrastinate import App
from sqlalchemy import TextClause, text

from control_plane.delivery.states import SETTLED
from control_plane.pipelines.jobs import UPKEEP_QUEUE
from db.pages import in_pages
from db.session import Database

#: Rows of one transaction, and transactions of one rule in a run: a backlog is worked off over several runs.
PAGE = 1000
MOST_PAGES = 100

_SETTLED = ", ".join(f"'{state.value}'" for state in sorted(SETTLED))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is forgotten once it is as old as `kept`; `statement` does so with a page of it, oldest first."""

    what: str
    kept: timedelta
    statement: TextClause


# Names of ours alone go into these. The row is asked its age once more when it is had: whoever had locked it may have
# made it new, as a suppression that is put on the list again.
_DELETE = """
DELETE FROM {table}
WHERE {key} IN (SELECT {key} FROM {table} WHERE {age} < now() - CAST(:kept AS interval)
                ORDER BY {age} LIMIT :page)
    AND {age} < now() - CAST(:kept AS interval)
"""
_EMPTY = """
UPDATE messages m SET payload = ''
FROM (SELECT tenant_id, id FROM messages
      WHERE final_at < now() - CAST(:kept AS interval) AND octet_length(payload) > 0 AND state IN ({settled})
      ORDER BY final_at LIMIT :page FOR NO KEY UPDATE SKIP LOCKED) AS old
WHERE m.tenant_id = old.tenant_id AND m.id = old.id
"""


def _deleting(table: str, key: str, age: str) -> TextClause:
    return text(_DELETE.format(table=table, key=key, age=age))


RULES = (
    Rule(
        "contents of messages after their end",
        timedelta(days=30),
        text(_EMPTY.format(settled=_SETTLED)),
    ),
    Rule("what servers answered to commands", timedelta(days=30), _deleting("server_commands", "id", "created_at")),
    Rule("suppressions after they were taken off", timedelta(0), _deleting("suppressions", "id", "removed_at")),
    Rule(
        "letters to people, unanswered", timedelta(days=1), _deleting("one_time_tokens", "token_sha256", "expires_at")
    ),
    Rule("sign-ups, unanswered", timedelta(days=1), _deleting("sign_ups", "token_sha256", "expires_at")),
    Rule("what happened to people's accounts", timedelta(days=180), _deleting("security_events", "id", "at")),
    # Their refresh tokens go with them.
    Rule("log-in sessions after they expired", timedelta(days=30), _deleting("sessions", "id", "expires_at")),
)


async def forget_old(database: Database) -> dict[str, int]:
    """Apply the rules; return how many rows each forgot, and log it."""
    forgotten = {}
    for rule in RULES:
        count = forgotten[rule.what] = await in_pages(database, rule.statement, {"kept": rule.kept}, PAGE, MOST_PAGES)
        if count:
            _log.info("forgot %d: %s", count, rule.what)
    return forgotten


def add_retention_jobs(app: App, database: Database) -> None:
    """Add `privacy.forget`, every hour."""

    @app.periodic(cron="17 * * * *")
    @app.task(name="privacy.forget", queue=UPKEEP_QUEUE, queueing_lock="privacy.forget")
    async def old_things_forgotten(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await forget_old(database)
