"""What a plan's servers are like, from their rows and reports; system role."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.servers import is_reachable
from control_plane.monitoring.metrics import DESTINATIONS, HAND_OVERS, OUTCOMES, POSITION
from control_plane.upgrades.check_gate import CONFIGURATION, Failing
from control_plane.upgrades.decide import ServerFacts
from control_plane.upgrades.delivery_gate import HandOvers, Outcomes
from control_plane.upgrades.failing_checks import load_failing
from control_plane.upgrades.payloads import Payload
from control_plane.upgrades.process_gate import Process
from control_plane.upgrades.states import ServerState


def _total(*metrics: str) -> str:
    """Return SQL for what was counted of some metrics together; PostgreSQL counts positions from 1."""
    return " + ".join(f"coalesce(measured[{POSITION[metric] + 1}], 0)" for metric in metrics)


_TOTALS = {
    **{outcome: _total(*(f"{outcome}.{where}" for where in DESTINATIONS)) for outcome in OUTCOMES},
    **{name: _total(name) for name in HAND_OVERS},
}
_REFUSED = "v.mail_server_status IN ('refused', 'rolled_back')"
_RSS = "coalesce((r.report->>'agent_rss_bytes')::double precision, 0)"
_RESTARTS = (
    "coalesce(jsonb_path_query_first(r.report, '$.units[*] ? (@.name == \"penguin-agent.service\").restarts')"
    "::double precision, 0)"
)


def _rolled_up(table: str, condition: str) -> str:
    """Return SQL for what roll-ups of a server `s` come to, in which a window is some minutes after its end."""
    sums = ", ".join(f"coalesce(sum({total}), 0) AS {outcome}" for outcome, total in _TOTALS.items())
    return f"SELECT {sums} FROM {table} WHERE vps_id = s.vps_id AND {condition}"  # noqa: S608 - names of ours


def _reported(since: str, condition: str) -> str:
    """Return SQL for what a server `s` counted by its reports: `r` is the newest, and those of an hour are kept.

    Counters only grow while the agent lives that counts: its first report and its newest tell it all.
    """
    reports = (
        f"SELECT measured FROM health_reports WHERE vps_id = s.vps_id AND {condition} AND at >= {since}"  # noqa: S608
        f" AND reported_at >= {since} - interval '1 minute'"
        " AND extract(epoch FROM reported_at) * 1000 >= (r.report->>'counting_since_ms')::double precision"
        " ORDER BY reported_at"
    )
    grown = ", ".join(f"coalesce(max({total}) - min({total}), 0) AS {outcome}" for outcome, total in _TOTALS.items())
    return f"SELECT {grown} FROM (({reports} LIMIT 1) UNION ALL ({reports} DESC LIMIT 1)) AS ends"  # noqa: S608


def _counted(*counts: str) -> str:
    """Return SQL for that of several counts which saw the most."""
    every = " UNION ALL ".join(f"({count})" for count in counts)
    return f"SELECT * FROM ({every}) AS counts ORDER BY {' + '.join(_TOTALS)} DESC LIMIT 1"  # noqa: S608


_IS_INSTALLED = "s.state = 'installed'"
# What is counted lately begins with the first window, or the first report, that began after the server had it.
_LATELY = _counted(
    _rolled_up("health_samples", f"at >= s.since AND {_IS_INSTALLED}"), _reported("s.since", _IS_INSTALLED)
)
_SERVERS = text(
    "SELECT s.vps_id, s.ring, s.state, s.since, s.told_at, s.past_delivered, s.past_deferred, s.past_bounced,"  # noqa: S608 - names of ours
    " s.past_handed_over, s.past_hand_over_refused, s.past_rss_bytes, s.past_restarts, s.asked_version,"
    " v.trial_configuration, v.applied_version, v.settled_version,"
    " v.mail_server_status, v.applied_detail, v.agent_version, v.link_session, v.last_seen_at,"
    f" r.report::text AS report, {_RSS} AS rss_bytes, {_RESTARTS} AS restarts,"
    f" coalesce(s.state IN ('asked', 'installed') AND {_REFUSED} AND '{CONFIGURATION}' <> ALL(s.failing_before), false)"
    " AS refuses,"
    " lately.delivered, lately.deferred, lately.bounced, lately.handed_over, lately.hand_over_refused"
    " FROM upgrade_servers s JOIN vps_servers v ON v.id = s.vps_id AND v.status = 'ready'"
    " LEFT JOIN vps_reports r ON r.vps_id = s.vps_id"
    f" LEFT JOIN LATERAL ({_LATELY}) lately ON true"
    " WHERE s.upgrade_id = :upgrade"
)
_DAY = _rolled_up("health_hours", "at >= CAST(:now AS timestamptz) - interval '1 day'")
_LAST_HOUR = _reported("CAST(:now AS timestamptz) - interval '1 hour'", "true")
# Once, when it is told first.
_REMEMBER = text(
    "UPDATE upgrade_servers u SET asked_at = :now,"  # noqa: S608 - as above
    " past_delivered = p.delivered, past_deferred = p.deferred, past_bounced = p.bounced,"
    " past_handed_over = p.handed_over, past_hand_over_refused = p.hand_over_refused,"
    " past_rss_bytes = p.rss_bytes, past_restarts = p.restarts,"
    " failing_before = ARRAY(SELECT kind FROM health_checks h"
    "  WHERE h.vps_id = u.vps_id AND h.state = 'fail' ORDER BY kind)"
    f"  || (SELECT ARRAY['{CONFIGURATION}'] FROM vps_servers v WHERE v.id = u.vps_id AND {_REFUSED})"
    f" FROM (SELECT s.vps_id, {_RSS} AS rss_bytes, {_RESTARTS} AS restarts, counted.*"
    "  FROM unnest(CAST(:servers AS uuid[])) AS s (vps_id) LEFT JOIN vps_reports r ON r.vps_id = s.vps_id"
    f"  LEFT JOIN LATERAL ({_counted(_DAY, _LAST_HOUR)}) counted ON true) p"
    " WHERE u.upgrade_id = :upgrade AND u.vps_id = p.vps_id"
)


async def load_facts(
    session: AsyncSession, upgrade_id: uuid.UUID, payload: Payload, now: dt.datetime
) -> Sequence[ServerFacts]:
    """Return what is known of each of a plan's servers that is still there."""
    failing = await load_failing(session, upgrade_id, now)
    rows = await session.execute(_SERVERS, {"upgrade": upgrade_id})
    return [_facts(row, payload, tuple(failing.get(row.vps_id, ())), now) for row in rows]


async def remember_past(
    session: AsyncSession, upgrade_id: uuid.UUID, servers: Sequence[uuid.UUID], now: dt.datetime
) -> None:
    """Keep what servers are like before they are changed: attempts, the agent's process, and which checks fail.

    Attempts are those of the last day; of a server that is younger than its first roll-up those of its reports.
    """
    await session.execute(_REMEMBER, {"upgrade": upgrade_id, "servers": list(servers), "now": now})


def _facts(row: Row[Any], payload: Payload, failing: tuple[Failing, ...], now: dt.datetime) -> ServerFacts:
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
        failing=failing,
        refuses=row.refuses,
        past=Outcomes(row.past_delivered, row.past_deferred, row.past_bounced),
        lately=Outcomes(row.delivered, row.deferred, row.bounced),
        past_hand_overs=HandOvers(row.past_handed_over, row.past_hand_over_refused),
        hand_overs=HandOvers(row.handed_over, row.hand_over_refused),
        past_process=Process(row.past_rss_bytes, row.past_restarts),
        process=Process(row.rss_bytes, row.restarts),
    )
