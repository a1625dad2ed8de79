"""What came of backups and restore tests, and whether that is well: `penguin backup status`, and alerts.

A copy that was never restored proves nothing, so a restore test that failed, or that nobody made for longer than its
period and a day, is as bad as a backup that failed.
"""

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

COPY_EVERY = dt.timedelta(days=1)
TEST_EVERY = dt.timedelta(days=7)
_GRACE = dt.timedelta(hours=6)
#: Of its own, so that nothing else holds it up.
BACKUPS_QUEUE = "backups"


class Kind(enum.StrEnum):
    """`backup_results.kind`."""

    COPY = "copy"
    RESTORE_TEST = "restore_test"


#: What each is called, and how often there is to be one.
_NAMED = {Kind.COPY: ("backup", COPY_EVERY), Kind.RESTORE_TEST: ("restore test", TEST_EVERY)}


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest result of a kind, and when the newest good one and the first of all ended."""

    ok: bool
    sentence: str
    ended_at: dt.datetime
    good_at: dt.datetime | None
    first_at: dt.datetime


_KEEP = text(
    "INSERT INTO backup_results (kind, began_at, ok, sentence) VALUES (:kind, :began, :ok, left(:sentence, 2000))"
)
_FORGET = text("DELETE FROM backup_results WHERE ended_at < now() - interval '400 days'")
_NEWEST = text(
    "SELECT DISTINCT ON (kind) kind, ok, sentence, ended_at, max(ended_at) FILTER (WHERE ok) OVER (PARTITION BY kind)"
    " AS good_at, min(ended_at) OVER (PARTITION BY kind) AS first_at FROM backup_results ORDER BY kind, ended_at DESC"
)


async def keep_result(session: AsyncSession, kind: Kind, began: dt.datetime, *, ok: bool, sentence: str) -> None:
    """Write down what came of a copy or of a test; system role."""
    await session.execute(_KEEP, {"kind": kind.value, "began": began, "ok": ok, "sentence": sentence})
    await session.execute(_FORGET)


async def newest_results(session: AsyncSession) -> dict[Kind, Newest]:
    """Return the newest result of each kind; system role."""
    rows = (await session.execute(_NEWEST)).all()
    return {Kind(row.kind): Newest(row.ok, row.sentence, row.ended_at, row.good_at, row.first_at) for row in rows}


def wrong_with(kind: Kind, newest: Mapping[Kind, Newest], now: dt.datetime) -> str:
    """Return why what was made of a kind cannot be relied upon, nothing when it can. Pure.

    Where none was ever asked for there is nothing to be wrong.
    """
    if not newest:
        return ""
    name, period = _NAMED[kind]
    result = newest.get(kind)
    if result and not result.ok:
        return f"the newest {name} failed: {result.sentence}"
    if result is None or result.good_at is None:
        return f"there was no {name} yet"
    if now - result.good_at > period + _GRACE:
        return f"the newest {name} is of {result.good_at:%Y-%m-%d %H:%M} UTC"
    return ""


def is_awaited(kind: Kind, newest: Mapping[Kind, Newest], now: dt.datetime) -> bool:
    """Return whether the first of a kind may still come: the first of the other is new. Pure."""
    return bool(newest) and kind not in newest and all(now - other.first_at < _GRACE for other in newest.values())


def what_is_wrong(newest: Mapping[Kind, Newest], now: dt.datetime) -> str:
    """Return all that is wrong with backups, nothing when they can be relied upon. Pure."""
    return "; ".join(filter(None, (wrong_with(kind, newest, now) for kind in Kind)))
