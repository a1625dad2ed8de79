"""What a plan's servers are like, from their rows and reports; system role."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.servers import is_reachable
from control_plane.monitoring.metrics import DESTINATIONS, OUTCOMES, POSITION
from control_plane.upgrades.decide import ServerFacts
from control_plane.upgrades.delivery_gate import Outcomes
from control_plane.upgrades.payloads import Payload
from control_plane.upgrades.states import ServerState


def _sums() -> str:
    """Return SQL that sums each outcome over all destinations; PostgreSQL counts positions from 1."""
    return ", ".join(
        "coalesce(sum("
        + " + ".join(f"coalesce(measured[{POSITION[f'{outcome}.{where}'] + 1}], 0)" for where in DESTINATIONS)
        + f"), 0) AS {outcome}"
        for outcome in OUTCOMES
    )


#: Among the names of checks: that its last configuration was refused or rolled back. Another release renders otherwise.
CONFIGURATION = "configuration"
_REFUSED = "v.mail_server_status IN ('refused', 'rolled_back')"

# What is counted lately begins with the first window that began after the server had it.
_SERVERS = text(
    "SELECT u.vps_id, u.ring, u.state, u.since, u.told_at, u.past_delivered, u.past_deferred, u.past_bounced,"  # noqa: S608 - names of ours
    " u.asked_version, v.trial_configuration, v.applied_version, v.settled_version, v.mail_server_status,"
    " v.applied_detail, v.agent_version, v.link_session, v.last_seen_at, r.report::text AS report,"
    " ARRAY(SELECT kind FROM health_checks h WHERE h.vps_id = u.vps_id AND h.state = 'fail'"
    "  AND h.kind <> ALL(u.failing_before) AND u.state = 'installed' AND h.changed_at > u.since ORDER BY kind)"
    f" || CASE WHEN u.state IN ('asked', 'installed') AND {_REFUSED} AND '{CONFIGURATION}' <> ALL(u.failing_before)"
    f"  THEN ARRAY['{CONFIGURATION}'] END AS newly_failing,"
    " s.delivered, s.deferred, s.bounced"
    " FROM upgrade_servers u JOIN vps_servers v ON v.id = u.vps_id AND v.status = 'ready'"
    " LEFT JOIN vps_reports r ON r.vps_id = u.vps_id"
    f" LEFT JOIN LATERAL (SELECT {_sums()} FROM health_samples WHERE vps_id = u.vps_id"
    "  AND at >= u.since AND u.state = 'installed') s ON true"
    " WHERE u.upgrade_id = :upgrade"
)
# Once, when it is told first.
_REMEMBER = text(
    "UPDATE upgrade_servers u SET past_delivered = p.delivered, past_deferred = p.deferred,"  # noqa: S608 - as above
    " past_bounced = p.bounced, failing_before = ARRAY(SELECT kind FROM health_checks h"
    "  WHERE h.vps_id = u.vps_id AND h.state = 'fail' ORDER BY kind)"
    f"  || (SELECT ARRAY['{CONFIGURATION}'] FROM vps_servers v WHERE v.id = u.vps_id AND {_REFUSED})"
    f" FROM (SELECT w.id, {_sums()} FROM unnest(CAST(:servers AS uuid[])) AS w (id)"
    "  LEFT JOIN health_hours h ON h.vps_id = w.id AND h.at >= CAST(:day_ago AS timestamptz) GROUP BY w.id) p"
    " WHERE u.upgrade_id = :upgrade AND u.vps_id = p.id"
)


async def load_facts(
    session: AsyncSession, upgrade_id: uuid.UUID, payload: Payload, now: dt.datetime
) -> Sequence[ServerFacts]:
    """Return what is known of each of a plan's servers that is still there."""
    return [_facts(row, payload, now) for row in await session.execute(_SERVERS, {"upgrade": upgrade_id})]


async def remember_past(
    session: AsyncSession, upgrade_id: uuid.UUID, servers: Sequence[uuid.UUID], now: dt.datetime
) -> None:
    """Keep what servers are like before they are changed: the last day's attempts, and which checks fail."""
    day_ago = now - dt.timedelta(days=1)
    await session.execute(_REMEMBER, {"upgrade": upgrade_id, "servers": list(servers), "day_ago": day_ago})


def _facts(row: Row[Any], payload: Payload, now: dt.datetime) -> ServerFacts:
    return ServerFacts(
        vps_id=row.vps_id,
        ring=row.ring,
        state=ServerState(row.state),
        since=row.since,
        told_at=row.told_at,
        running=payload.running(row),
        reachable=is_reachable(row.link_session, row.last_seen_at, now),
        heard_at=row.last_seen_at,
        told=payload.told(row),
        newly_failing=tuple(row.newly_failing),
        past=Outcomes(row.past_delivered, row.past_deferred, row.past_bounced),
        lately=Outcomes(row.delivered, row.deferred, row.bounced),
    )
