"""On which servers rules' conditions hold, by what was checked and measured of them; kept from look to look."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, exists, false, not_, null, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.servers import is_reachable
from control_plane.healing.decide import Condition, Server, advance
from control_plane.healing.rules import Rule
from control_plane.monitoring.expressions import condition, render
from control_plane.monitoring.package_changes import changed_until
from control_plane.monitoring.states import State
from db.models import (
    HealingActRow,
    HealingCondition,
    HealingForbidden,
    HealthCheck,
    ServerHealthRow,
    VpsServer,
)

_IS_WATCHED = and_(VpsServer.status == "ready", VpsServer.monitoring_enabled, VpsServer.banned_at.is_(None))


@dataclass(frozen=True, slots=True)
class _Look:
    """What a rule comes to on a server now; None when nobody can tell."""

    tenant_id: uuid.UUID
    bad: bool | None
    well: bool | None
    reason: str


async def look_at_servers(session: AsyncSession, rules: Sequence[Rule], now: dt.datetime) -> list[Server]:
    """Keep how conditions stand now, and return each server that has one, or something that stands."""
    names = [rule.name for rule in rules]
    await session.execute(delete(HealingCondition).where(HealingCondition.rule.not_in(names)))
    rows = {(row.vps_id, row.rule): row for row in await session.scalars(select(HealingCondition).with_for_update())}
    for rule in rules:
        for vps_id, look in (await _look(session, rule)).items():
            row = rows.get((vps_id, rule.name))
            before = Condition(row.began_at, row.bad_since, row.well_since, row.reason) if row else None
            after = advance(before, rule, bad=look.bad, well=look.well, reason=look.reason, now=now)
            if after is None:
                if row is not None:
                    await session.delete(rows.pop((vps_id, rule.name)))
            else:
                if row is None:
                    row = HealingCondition(vps_id=vps_id, rule=rule.name, tenant_id=look.tenant_id)
                    session.add(row)
                    rows[vps_id, rule.name] = row
                row.began_at, row.bad_since = after.began_at, after.bad_since
                row.well_since, row.reason = after.well_since, after.reason
    await session.flush()
    conditions: dict[uuid.UUID, dict[str, Condition]] = defaultdict(dict)
    for (vps_id, name), row in rows.items():
        conditions[vps_id][name] = Condition(row.began_at, row.bad_since, row.well_since, row.reason)
    return await _servers(session, rules, conditions, now)


async def _look(session: AsyncSession, rule: Rule) -> Mapping[uuid.UUID, _Look]:
    """Ask of the servers on which it holds, or on which it is not over."""
    parts: list[ColumnElement[bool]] = []
    if rule.check:
        is_bad = HealthCheck.state.in_([state.value for state in rule.states])
        parts.append(case((HealthCheck.state == State.UNKNOWN.value, null()), else_=is_bad))
    if rule.where is not None:
        parts.append(condition(rule.where))
    bad = and_(*parts)
    well = condition(rule.well) if rule.well is not None else not_(bad)
    stands = exists().where(HealingCondition.vps_id == VpsServer.id, HealingCondition.rule == rule.name)
    query = (
        select(VpsServer.id, VpsServer.tenant_id, _as_told(bad), _as_told(well), HealthCheck.sentence)
        .outerjoin(ServerHealthRow, ServerHealthRow.vps_id == VpsServer.id)
        .outerjoin(
            HealthCheck,
            and_(HealthCheck.vps_id == VpsServer.id, HealthCheck.kind == (rule.check.value if rule.check else None)),
        )
        .where(_IS_WATCHED, or_(bad, stands))
    )
    fallback = render(rule.where) if rule.where is not None else ""
    return {row[0]: _Look(row[1], row[2], row[3], row[4] or fallback) for row in await session.execute(query)}


def _as_told(question: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return it as a column: true, false, or null when that cannot be told."""
    return case((question, true()), (not_(question), false()), else_=null())


async def _servers(
    session: AsyncSession,
    rules: Sequence[Rule],
    conditions: Mapping[uuid.UUID, Mapping[str, Condition]],
    now: dt.datetime,
) -> list[Server]:
    standing = select(HealingActRow.vps_id).where(HealingActRow.ended_at.is_(None))
    query = select(VpsServer.id, VpsServer.link_session, VpsServer.last_seen_at, _IS_WATCHED).where(
        or_(VpsServer.id.in_(conditions), VpsServer.id.in_(standing))
    )
    servers = (await session.execute(query.order_by(VpsServer.id))).all()
    forbidden = list(await session.scalars(select(HealingForbidden)))
    names = frozenset(rule.name for rule in rules)
    changed = await changed_until(session, [vps_id for vps_id, *_ in servers], now)
    return [
        Server(
            vps_id,
            is_reachable(link, seen, now),
            # What nobody looks at any more is no reason to act, nor to take back what stands.
            conditions.get(vps_id, {}) if is_watched else _untold(conditions.get(vps_id, {})),
            _forbidden(forbidden, vps_id, names),
            changed.get(vps_id),
        )
        for vps_id, link, seen, is_watched in servers
    ]


def _untold(conditions: Mapping[str, Condition]) -> Mapping[str, Condition]:
    return {name: Condition(each.began_at, None, None, each.reason) for name, each in conditions.items()}


def _forbidden(rows: Sequence[Any], vps_id: uuid.UUID, names: frozenset[str]) -> frozenset[str]:
    """Return the names of the rules that are forbidden on a server; those without a name are of all rules."""
    here = [row.rule for row in rows if row.of_vps_id in {None, vps_id}]
    return names if None in here else names.intersection(here)
