"""Since when the hubs hear servers: silence proves nothing while nobody listened.

Each hub says every few seconds that it is there, in the database by the database's clock. One that did not for a while,
because it was gone or the database was away, begins to hear anew. A hub that stays away is forgotten after a while.
"""

import asyncio
import datetime as dt
import logging
import uuid
from typing import Never

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from db.notifications import DATABASE_AWAY
from db.session import Database
from db.undisturbed import undisturbed

#: A server that was not heard of for so long is silent; it reports every 15 seconds.
SILENT = dt.timedelta(seconds=26)
#: Seconds between two signs of a hub.
BEAT = 2.0
#: After so long without one a hub counts as away.
AWAY_AFTER = dt.timedelta(seconds=8)
#: Agents of a hub that went are back within so long (agent/uplink/backoff.py).
BACK_WITHIN = dt.timedelta(seconds=60)
_FORGOTTEN_AFTER = dt.timedelta(hours=1)

_BEAT = text(
    "INSERT INTO hubs AS kept (id, hearing_since, seen_at) VALUES (:hub, now(), now())"
    " ON CONFLICT (id) DO UPDATE SET seen_at = now(), hearing_since = CASE"
    "  WHEN CAST(:anew AS boolean) OR kept.seen_at < now() - CAST(:away AS interval) THEN now()"
    "  ELSE kept.hearing_since END"
)
_HEARING = text(
    "SELECT coalesce(bool_or(seen_at >= CAST(:alive AS timestamptz)), false) AS anybody,"
    " max(CASE WHEN seen_at >= CAST(:alive AS timestamptz) THEN hearing_since ELSE seen_at END) AS changed_at"
    " FROM hubs WHERE seen_at >= CAST(:remembered AS timestamptz)"
)

_log = logging.getLogger(__name__)


async def beat(session: AsyncSession, hub: uuid.UUID, *, anew: bool = False) -> None:
    """Say that this hub is there; `anew` when it has just started."""
    await session.execute(_BEAT, {"hub": hub, "anew": anew, "away": AWAY_AFTER})


async def keep_beating(database: Database, hub: uuid.UUID) -> Never:
    """Say so for ever; while the database is away nobody is told, which means what it should."""
    while True:
        await asyncio.sleep(BEAT)
        try:
            await undisturbed(_beat_once(database, hub))
        except DATABASE_AWAY as error:
            _log.warning("the hub cannot say that it is there: %s", type(error).__name__)


async def excused_before(session: AsyncSession, now: dt.datetime) -> dt.datetime:
    """Return the moment before which a server that was last heard of then may be silent through no fault of its own."""
    moments = {"alive": now - AWAY_AFTER, "remembered": now - _FORGOTTEN_AFTER}
    hearing = (await session.execute(_HEARING, moments)).one()
    if not hearing.anybody:
        return now
    if now - hearing.changed_at <= BACK_WITHIN:
        changed_at: dt.datetime = hearing.changed_at
        return changed_at
    return dt.datetime.min.replace(tzinfo=dt.UTC)


async def _beat_once(database: Database, hub: uuid.UUID) -> None:
    async with database.system() as session:
        await beat(session, hub)
