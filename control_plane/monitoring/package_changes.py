"""On which servers plans change the mail packages, or did lately; system role.

Whoever changes packages stops and starts services, watches them, and goes back by itself.
"""

import datetime as dt
import uuid
from collections.abc import Collection, Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

#: Plans that ended before that are of no matter to anybody.
_LATELY = dt.timedelta(hours=1)

# A plan gives a server up that does not come to an end (upgrades/decide.py).
_CHANGED = text(
    "SELECT s.vps_id,"
    " max(CASE WHEN s.state IN ('asked', 'reverting') THEN CAST(:now AS timestamptz) ELSE s.since END) AS until"
    " FROM upgrade_servers s JOIN upgrades u ON u.id = s.upgrade_id AND u.packages IS NOT NULL"
    " WHERE s.vps_id = ANY(CAST(:servers AS uuid[])) AND s.state <> 'waiting'"
    "  AND (u.state IN ('running', 'rolling_back') OR u.ended_at > CAST(:lately AS timestamptz)) GROUP BY s.vps_id"
)


async def changed_until(
    session: AsyncSession, servers: Collection[uuid.UUID], now: dt.datetime
) -> Mapping[uuid.UUID, dt.datetime]:
    """Return until when; now where one does."""
    values = {"servers": list(servers), "now": now, "lately": now - _LATELY}
    return {row.vps_id: row.until for row in await session.execute(_CHANGED, values)}
