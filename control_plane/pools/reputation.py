"""What became of what each address sent, by day: counted anew for today and yesterday, so that counting twice is safe.

An event is its address's when the inbox was bound to that address at the time. Agents hold events back for a while, so
one that comes later than the day after is not counted. Complaints come with complaint loops; nothing reports one yet.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_COUNT = text(
    "INSERT INTO address_reputation (tenant_id, address_id, day, sent, deferred, bounced)"
    " SELECT b.tenant_id, b.address_id, (e.at AT TIME ZONE 'UTC')::date,"
    "  count(*) FILTER (WHERE e.kind = 'delivered'), count(*) FILTER (WHERE e.kind = 'deferred'),"
    "  count(*) FILTER (WHERE e.kind IN ('bounced', 'expired'))"
    " FROM sender_bindings b"
    " JOIN messages m ON m.tenant_id = b.tenant_id AND m.inbox_id = b.inbox_id"
    " JOIN message_events e ON e.tenant_id = m.tenant_id AND e.message_id = m.id"
    "  AND e.at >= b.since AND (b.until IS NULL OR e.at < b.until)"
    " WHERE e.applied AND e.kind IN ('delivered', 'deferred', 'bounced', 'expired')"
    "  AND e.at >= (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day') AT TIME ZONE 'UTC'"
    " GROUP BY 1, 2, 3"
    " ON CONFLICT (address_id, day) DO UPDATE SET sent = excluded.sent, deferred = excluded.deferred,"
    "  bounced = excluded.bounced"
)
_DAYS = text(
    "SELECT day, sent, deferred, bounced, complained FROM address_reputation"
    " WHERE tenant_id = :tenant AND address_id = :address ORDER BY day DESC LIMIT :days"
)


@dataclass(frozen=True, slots=True)
class Day:
    """One address on one day (UTC): messages delivered, attempts deferred, messages bounced, complaints."""

    day: dt.date
    sent: int
    deferred: int
    bounced: int
    complained: int


async def count_reputation(session: AsyncSession) -> None:
    """Count what came in yesterday and today, in UTC; system role."""
    await session.execute(_COUNT)


async def reputation_of(
    session: AsyncSession, tenant_id: uuid.UUID, address_id: uuid.UUID, days: int = 30
) -> Sequence[Day]:
    """Return an address's days, newest first."""
    rows = await session.execute(_DAYS, {"tenant": tenant_id, "address": address_id, "days": days})
    return [Day(*row) for row in rows]
