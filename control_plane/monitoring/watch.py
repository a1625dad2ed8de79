"""The watch: what must be known in seconds, evaluated from rows alone, about servers that give a reason for it.

`monitoring.health` looks at everything every five minutes. Between its looks this one sees, every second and at once
when a server has told of a stopped daemon: who is silent, whose mail server stands still, whose disk is nearly full,
whose identity is used twice.
Of two workers that watch, one waits for nothing: who finds the other at it leaves it to that one.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Never

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock
from control_plane.fleet.hearing import SILENT, excused_before
from control_plane.fleet.reports import parse_report
from control_plane.monitoring.alert_rules import Rule
from control_plane.monitoring.alerts import advance_some, is_ours_to_advance, next_opening
from control_plane.monitoring.checks import Facts, check_disk, check_identity, check_mail_server, check_reachable
from control_plane.monitoring.health_check import Checked, keep_findings
from control_plane.monitoring.probe import Look
from control_plane.monitoring.states import Check
from db.notifications import DATABASE_AWAY, listen
from db.session import Database
from db.undisturbed import undisturbed

#: What follows from alerts, in the same transaction.
Then = Callable[[AsyncSession, dt.datetime], Awaitable[None]]

#: Notified with a server's id when a daemon of it was stopped or started, or its identity was found to be used twice.
CHANNEL = "server_watch"
#: Seconds between looks.
PERIOD = 1.0
#: What is checked here, each from rows alone.
FAST = frozenset({Check.REACHABLE, Check.MAIL_SERVER, Check.DISK, Check.IDENTITY})

_SUSPICIOUS = text(
    "SELECT v.id, v.tenant_id, v.last_seen_at, v.cloned_at, v.agent_version, v.mail_server_status,"
    " r.report::text AS report, h.shut_ports"
    " FROM vps_servers v LEFT JOIN vps_reports r ON r.vps_id = v.id LEFT JOIN server_health h ON h.vps_id = v.id"
    " WHERE v.status = 'ready' AND v.monitoring_enabled AND (v.last_seen_at IS NULL"
    "  OR v.last_seen_at < CAST(:heard_since AS timestamptz) OR v.stopped_units <> '{}' OR v.cloned_at IS NOT NULL"
    "  OR v.disk_nearly_full"
    "  OR v.id IN (SELECT vps_id FROM alerts WHERE state <> 'resolved' AND rule = ANY(CAST(:rules AS text[]))))"
)
_KEEP_WORST = text(
    "UPDATE server_health h SET state = w.state FROM (SELECT vps_id, (ARRAY['ok', 'unknown', 'warn', 'fail'])["
    "  max(array_position(ARRAY['ok', 'unknown', 'warn', 'fail'], state))] AS state"
    "  FROM health_checks WHERE vps_id = ANY(CAST(:servers AS uuid[])) GROUP BY vps_id) w"
    " WHERE h.vps_id = w.vps_id AND h.state <> w.state"
)

_log = logging.getLogger(__name__)


async def look(session: AsyncSession, rules: Sequence[Rule], now: dt.datetime) -> dt.datetime:
    """Advance the alerts that can be advanced from rows; return when there is reason to look again.

    Raises nothing when another is looking.
    """
    again = now + dt.timedelta(seconds=PERIOD)
    if not await is_ours_to_advance(session):
        return again
    fast = [rule for rule in rules if rule.check in FAST]
    values = {"heard_since": now - SILENT, "rules": [rule.name for rule in fast]}
    rows = (await session.execute(_SUSPICIOUS, values)).all()
    if not rows:
        return again
    excused = await excused_before(session, now)
    checked = [_check(row, now, excused) for row in rows]
    await keep_findings(session, now, checked)
    await session.execute(_KEEP_WORST, {"servers": [each.vps_id for each in checked]})
    await advance_some(session, fast, checked, now)
    return min(again, max(await next_opening(session, fast, now), now))


async def watch_for_ever(database: Database, rules: Sequence[Rule], clock: Clock, then: Then) -> Never:
    """Look every second, at once when a server tells of a change, and when a pending alert is due; `then` follows."""
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as beside:
        beside.create_task(listen(database, (CHANNEL,), lambda _: changed.set()))
        while True:
            changed.clear()
            await _wait(changed, await undisturbed(_look_once(database, rules, clock(), then)), clock)


async def _look_once(database: Database, rules: Sequence[Rule], now: dt.datetime, then: Then) -> dt.datetime:
    try:
        async with database.system() as session:
            again = await look(session, rules, now)
            await then(session, now)
            return again
    except DATABASE_AWAY as error:
        _log.warning("cannot watch servers: %s", type(error).__name__)
        return now + dt.timedelta(seconds=PERIOD)


async def _wait(changed: asyncio.Event, until: dt.datetime, clock: Clock) -> None:
    try:
        async with asyncio.timeout(max((until - clock()).total_seconds(), 0)):
            await changed.wait()
    except TimeoutError:
        return


def _check(row: Row[Any], now: dt.datetime, excused: dt.datetime) -> Checked:
    facts = Facts(
        now=now,
        last_seen_at=row.last_seen_at,
        excused_before=excused,
        cloned_at=row.cloned_at,
        report=parse_report(row.report) if row.report else None,
        looks={port: Look(error="no answer") for port in row.shut_ports or ()},
        mail_server_status=row.mail_server_status,
    )
    findings = [check_reachable(facts), check_mail_server(facts), check_disk(facts), check_identity(facts)]
    return Checked(row.id, row.tenant_id, row.agent_version, findings, {})
