"""What came of backups and restore tests, and whether that is well: `penguin backup status`, and an alert.

A copy that was never restored proves nothing, so a restore test that failed, or that nobody made for longer than its
period and a day, is as bad as a backup that failed.
"""

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from procrastinate import App
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from db.session import Database

COPY_EVERY = dt.timedelta(days=1)
TEST_EVERY = dt.timedelta(days=7)
_GRACE = dt.timedelta(hours=6)
#: Of its own, so that nothing else holds it up.
BACKUPS_QUEUE = "backups"


class Kind(enum.StrEnum):
    """`backup_results.kind`."""

    COPY = "copy"
    RESTORE_TEST = "restore_test"


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest result of a kind, and when the newest good one ended."""

    ok: bool
    sentence: str
    ended_at: dt.datetime
    good_at: dt.datetime | None


_KEEP = text(
    "INSERT INTO backup_results (kind, began_at, ok, sentence) VALUES (:kind, :began, :ok, left(:sentence, 2000))"
)
_FORGET = text("DELETE FROM backup_results WHERE ended_at < now() - interval '400 days'")
_NEWEST = text(
    "SELECT DISTINCT ON (kind) kind, ok, sentence, ended_at, max(ended_at) FILTER (WHERE ok) OVER (PARTITION BY kind)"
    " AS good_at FROM backup_results ORDER BY kind, ended_at DESC"
)
# Once a day each channel that wants it, for as long as it is so.
_TELL = text(
    "INSERT INTO alert_notices (channel_id, fingerprint, kind, due_at, body)"
    " SELECT c.id, 'backup:' || CAST(:day AS text), 'platform', :now, jsonb_build_object('rule', 'backup',"
    "  'severity', 'critical', 'sentence', CAST(:sentence AS text), 'opened_at', CAST(:now AS timestamptz))"
    " FROM alert_channels c WHERE c.after_minutes = 0 ON CONFLICT DO NOTHING"
)


# Who was told of it is told of its end.
_TELL_END = text(
    "INSERT INTO alert_notices (channel_id, fingerprint, kind, due_at, body)"
    " SELECT DISTINCT ON (n.channel_id) n.channel_id, 'backup-over:' || split_part(n.fingerprint, ':', 2), n.kind,"
    "  :now, n.body || jsonb_build_object('resolved_at', CAST(:now AS timestamptz))"
    " FROM alert_notices n WHERE n.kind = 'platform' AND n.fingerprint LIKE 'backup:%'"
    " ORDER BY n.channel_id, n.fingerprint DESC ON CONFLICT DO NOTHING"
)


async def keep_result(session: AsyncSession, kind: Kind, began: dt.datetime, *, ok: bool, sentence: str) -> None:
    """Write down what came of a copy or of a test; system role."""
    await session.execute(_KEEP, {"kind": kind.value, "began": began, "ok": ok, "sentence": sentence})
    await session.execute(_FORGET)


async def newest_results(session: AsyncSession) -> dict[Kind, Newest]:
    """Return the newest result of each kind; system role."""
    rows = (await session.execute(_NEWEST)).all()
    return {Kind(row.kind): Newest(row.ok, row.sentence, row.ended_at, row.good_at) for row in rows}


def what_is_wrong(newest: Mapping[Kind, Newest], now: dt.datetime) -> str:
    """Return why backups cannot be relied upon, nothing when they can. Pure.

    Where none was ever asked for there is nothing to be wrong.
    """
    if not newest:
        return ""
    names = {Kind.COPY: ("backup", COPY_EVERY), Kind.RESTORE_TEST: ("restore test", TEST_EVERY)}
    wrong = []
    for kind, (name, period) in names.items():
        result = newest.get(kind)
        if result and not result.ok:
            wrong.append(f"the newest {name} failed: {result.sentence}")
        elif result is None or result.good_at is None:
            wrong.append(f"there was no {name} yet")
        elif now - result.good_at > period + _GRACE:
            wrong.append(f"the newest {name} is of {result.good_at:%Y-%m-%d %H:%M} UTC")
    return "; ".join(wrong)


async def tell_what_is_wrong(session: AsyncSession, now: dt.datetime) -> str:
    """Have operators' channels told, once a day and when it is over, and return what is wrong; system role."""
    wrong = what_is_wrong(await newest_results(session), now)
    if wrong:
        await session.execute(_TELL, {"day": now.date().isoformat(), "now": now, "sentence": wrong})
    else:
        await session.execute(_TELL_END, {"now": now})
    return wrong


def add_backup_jobs(app: App, database: Database, clock: Clock) -> None:
    """Add `backups.look`, every five minutes: by a process that does not make them, for that may be what is wrong."""

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="backups.look", queue=BACKUPS_QUEUE, queueing_lock="backups.look")
    async def backups_looked_at(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with database.system() as session:
            await tell_what_is_wrong(session, clock())
