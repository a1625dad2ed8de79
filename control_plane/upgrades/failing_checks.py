"""Which checks of a plan's servers fail, but for those that did before; system role."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.monitoring.states import Check
from control_plane.monitoring.watch import FAST
from control_plane.upgrades.check_gate import CONFIGURATION, Failing

# The watch looks every second; at the rest, and at shut ports, one looks as often as all servers are checked. Of a
# server that had it before the plan came, what failed already is not the plan's.
_FAILING = text(
    "SELECT s.vps_id, h.kind, h.changed_at,"  # noqa: S608 - names of ours
    f" CASE WHEN h.kind = ANY(:fast) AND NOT (h.kind = '{Check.MAIL_SERVER}' AND v.stopped_units = '{{}}')"
    "  THEN CAST(:now AS timestamptz) ELSE coalesce(c.checked_at, h.at) END AS seen_at"
    " FROM upgrade_servers s JOIN vps_servers v ON v.id = s.vps_id AND v.status = 'ready'"
    " JOIN health_checks h ON h.vps_id = s.vps_id AND h.state = 'fail' AND h.kind <> ALL(s.failing_before)"
    " LEFT JOIN server_health c ON c.vps_id = s.vps_id"
    " WHERE s.upgrade_id = :upgrade AND s.state IN ('asked', 'installed')"
    "  AND (s.asked_at IS NOT NULL OR h.changed_at > s.since) ORDER BY s.vps_id, h.kind"
)
_WELL = (
    "SELECT h.kind FROM health_checks h WHERE h.vps_id = s.vps_id AND h.state = 'ok'"  # noqa: S608 - as above
    f" UNION ALL SELECT '{CONFIGURATION}' FROM vps_servers v WHERE v.id = s.vps_id AND v.mail_server_status = 'running'"
)
_FORGET_RECOVERED = text(
    f"UPDATE upgrade_servers s SET failing_before = ARRAY(SELECT unnest(s.failing_before) EXCEPT ({_WELL}))"  # noqa: S608 - as above
    " WHERE s.upgrade_id = :upgrade AND s.state IN ('asked', 'installed') AND s.failing_before <> '{}'"
    f"  AND s.failing_before && ARRAY({_WELL})"
)


async def load_failing(
    session: AsyncSession, upgrade_id: uuid.UUID, now: dt.datetime
) -> Mapping[uuid.UUID, Sequence[Failing]]:
    """Return them by server."""
    failing: dict[uuid.UUID, list[Failing]] = defaultdict(list)
    rows = await session.execute(_FAILING, {"upgrade": upgrade_id, "now": now, "fast": [each.value for each in FAST]})
    for row in rows:
        failing[row.vps_id].append(Failing(row.kind, row.changed_at, row.seen_at))
    return failing


async def forget_recovered(session: AsyncSession, upgrade_id: uuid.UUID) -> None:
    """Let checks that failed before their servers were changed count as others do once they were well."""
    await session.execute(_FORGET_RECOVERED, {"upgrade": upgrade_id})
