"""Alerts, kept: advanced with each check of the fleet, shown, and acknowledged. Who is told: control_plane/alerts."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.monitoring.alert_rules import Rule
from control_plane.monitoring.alert_states import AlertState, Standing, advance
from control_plane.monitoring.health_check import Checked
from control_plane.monitoring.package_changes import changed_until
from control_plane.monitoring.states import Check, Finding, State
from db.by_time import Place, newest_first
from db.ids import uuid7
from db.models import Alert

_OVER = text(
    "UPDATE alerts a SET state = 'resolved', resolved_at = :now FROM vps_servers v"
    " WHERE v.id = a.vps_id AND a.state <> 'resolved' AND NOT (v.status = 'ready' AND v.monitoring_enabled)"
)
#: Alerts of rules that begin so tell what was done about a server, and are control_plane/healing's to open and end.
HEALING = "healing."
_NOT_OVER = (
    select(Alert).where(Alert.state != AlertState.RESOLVED.value, Alert.rule.not_like(f"{HEALING}%")).with_for_update()
)
# One at a time: two that find the same would open two alerts.
_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended('alerts', 0))")
_TURN_IF_FREE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('alerts', 0))")


async def advance_alerts(
    session: AsyncSession, rules: Sequence[Rule], checked: Sequence[Checked], now: dt.datetime
) -> None:
    """Do what the rules say about what was found; alerts about servers that are not monitored any more are over."""
    await session.execute(_TURN)
    await session.execute(_OVER, {"now": now})
    await _advance(session, rules, checked, now, (await session.scalars(_NOT_OVER)).all())


async def advance_installation(
    session: AsyncSession, rules: Sequence[Rule], findings: Sequence[Finding], now: dt.datetime
) -> None:
    """Do what the rules say about the installation itself: its alerts are of no server and of no tenant."""
    await session.execute(_TURN)
    rows = {row.rule: row for row in await session.scalars(_NOT_OVER.where(Alert.vps_id.is_(None)))}
    await _keep(session, {}, rows, advance(rules, findings, _standing(rows), now))


async def is_ours_to_advance(session: AsyncSession) -> bool:
    """Return whether nobody else advances alerts; then nobody does before this transaction has ended."""
    return bool(await session.scalar(_TURN_IF_FREE))


async def advance_some(
    session: AsyncSession, rules: Sequence[Rule], checked: Sequence[Checked], now: dt.datetime
) -> None:
    """Do as `advance_alerts` with these rules and these servers alone; only while `is_ours_to_advance`."""
    names = [rule.name for rule in rules]
    servers = [each.vps_id for each in checked]
    rows = await session.scalars(_NOT_OVER.where(Alert.rule.in_(names), Alert.vps_id.in_(servers)))
    await _advance(session, rules, checked, now, rows.all())
    await session.flush()


async def next_opening(session: AsyncSession, rules: Sequence[Rule], now: dt.datetime) -> dt.datetime:
    """Return when the first of the pending alerts of these rules is due to open; far from now when none is.

    One that is overdue waits for the end of a change of packages, of which each look asks.
    """
    seconds = {rule.name: rule.for_seconds for rule in rules}
    pending = select(Alert.rule, Alert.since).where(Alert.state == AlertState.PENDING.value, Alert.rule.in_(seconds))
    due = [since + dt.timedelta(seconds=seconds[rule]) for rule, since in await session.execute(pending)]
    return min((each for each in due if each > now), default=now + dt.timedelta(days=1))


async def _advance(
    session: AsyncSession,
    rules: Sequence[Rule],
    checked: Sequence[Checked],
    now: dt.datetime,
    not_over: Sequence[Alert],
) -> None:
    of_servers: defaultdict[uuid.UUID | None, dict[str, Alert]] = defaultdict(dict)
    for row in not_over:
        of_servers[row.vps_id][row.rule] = row
    down = [each.vps_id for each in checked if _stands_still(each)]
    changed = await changed_until(session, down, now) if down else {}
    for each in checked:
        rows = of_servers[each.vps_id]
        after = advance(rules, each.findings, _standing(rows), now, changed.get(each.vps_id))
        await _keep(session, {"tenant_id": each.tenant_id, "vps_id": each.vps_id}, rows, after)


async def _keep(
    session: AsyncSession,
    about: Mapping[str, uuid.UUID],
    rows: Mapping[str, Alert],
    after: Mapping[str, Standing | None],
) -> None:
    for rule, alert in after.items():
        kept = rows.get(rule)
        if alert is None:
            await session.delete(kept)
        elif kept is None:
            session.add(Alert(id=uuid7(), **about, **_fields(alert)))
        else:
            for name, value in _fields(alert).items():
                setattr(kept, name, value)


async def list_alerts(
    session: AsyncSession, *, over: bool = False, after: Place | None = None, limit: int = 100
) -> Sequence[Alert]:
    """Return a page of the alerts that were opened, newest first: those that are not over, or all."""
    wanted = Alert.opened_at.is_not(None)
    query = select(Alert).where(wanted if over else wanted & (Alert.state != AlertState.RESOLVED.value))
    return (await session.scalars(newest_first(query, Alert.since, Alert.id, after).limit(limit))).all()


async def acknowledge(session: AsyncSession, alert_id: uuid.UUID, by: str, now: dt.datetime) -> Alert:
    """Note that somebody looks. Raises `NotFound` for an alert that is not open."""
    row = await session.scalar(
        select(Alert).where(Alert.id == alert_id, Alert.state == AlertState.OPEN.value).with_for_update()
    )
    if row is None:
        raise NotFound("there is no such open alert")
    row.state, row.acknowledged_by, row.acknowledged_at = AlertState.ACKNOWLEDGED.value, by, now
    await session.flush()
    return row


def _stands_still(checked: Checked) -> bool:
    return any(each.check is Check.MAIL_SERVER and each.state is not State.OK for each in checked.findings)


def _standing(rows: Mapping[str, Alert]) -> dict[str, Standing]:
    return {
        rule: Standing(
            rule, row.severity, AlertState(row.state), row.sentence, row.since, row.opened_at, row.well_since
        )
        for rule, row in rows.items()
    }


def _fields(alert: Standing) -> dict[str, object]:
    return {
        "rule": alert.rule,
        "severity": alert.severity,
        "state": alert.state.value,
        "sentence": alert.sentence,
        "since": alert.since,
        "opened_at": alert.opened_at,
        "well_since": alert.well_since,
        "resolved_at": alert.resolved_at,
    }
