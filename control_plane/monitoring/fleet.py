"""How the servers that a session sees are: how many are how, and which are worst, by whatever is asked."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, case, cast, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.monitoring.expressions import condition, parse
from control_plane.monitoring.states import State
from db.models import HealthCheck, ServerHealthRow, VpsServer

MOST = 500
_STATE = func.coalesce(ServerHealthRow.state, State.UNKNOWN.value)
_GRAVITY = case({state.value: gravity for gravity, state in enumerate(State)}, value=_STATE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which servers are asked for; what is None does not matter."""

    tenant_id: uuid.UUID | None = None
    provider: str | None = None
    region: str | None = None
    state: State | None = None
    version: str | None = None
    #: The name of a check that is not well.
    check: str | None = None
    #: See `expressions`.
    where: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The newest result of one check."""

    kind: str
    state: str
    value: float | None
    sentence: str
    changed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Server:
    """One server; `wrong` are its checks that are not well, gravest first."""

    vps_id: uuid.UUID
    tenant_id: uuid.UUID
    hostname: str
    provider: str
    region: str
    agent_version: str | None
    state: str
    checked_at: dt.datetime | None
    metrics: Mapping[str, Any]
    wrong: Sequence[CheckResult]


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many servers are in which state, and the worst of them."""

    totals: Mapping[str, int]
    servers: Sequence[Server]


async def fleet_health(session: AsyncSession, wanted: Wanted, limit: int = 100) -> Fleet:
    """Return what is asked for, of all that the session sees. Raises `InvalidInput` for a question of no sense."""
    conditions = _conditions(wanted)
    joined = select(VpsServer).outerjoin(ServerHealthRow, ServerHealthRow.vps_id == VpsServer.id).where(*conditions)
    counted = joined.with_only_columns(_STATE, func.count()).group_by(_STATE)
    totals = {row[0]: row[1] for row in await session.execute(counted)}
    worst_first = joined.with_only_columns(
        VpsServer.id,
        VpsServer.tenant_id,
        VpsServer.hostname,
        VpsServer.provider,
        VpsServer.region,
        VpsServer.agent_version,
        _STATE.label("state"),
        ServerHealthRow.checked_at,
        ServerHealthRow.metrics,
    ).order_by(_GRAVITY.desc(), VpsServer.hostname)
    rows = (await session.execute(worst_first.limit(min(limit, MOST)))).all()
    wrong = await checks_of(session, [row.id for row in rows], well_too=False)
    servers = [Server(*row[:8], metrics=row.metrics or {}, wrong=wrong.get(row.id, [])) for row in rows]
    return Fleet({state.value: totals.get(state.value, 0) for state in reversed(State)}, servers)


async def checks_of(
    session: AsyncSession, servers: Sequence[uuid.UUID], *, well_too: bool = True
) -> dict[uuid.UUID, list[CheckResult]]:
    """Return the checks of each server, gravest first."""
    # Columns and no rows as objects: of the worst servers there are thousands.
    query = select(
        HealthCheck.vps_id,
        HealthCheck.kind,
        HealthCheck.state,
        HealthCheck.value,
        HealthCheck.sentence,
        HealthCheck.changed_at,
    ).where(HealthCheck.vps_id.in_(servers))
    if not well_too:
        query = query.where(HealthCheck.state != State.OK.value)
    found: dict[uuid.UUID, list[CheckResult]] = {}
    for row in await session.execute(query):
        result = CheckResult(row.kind, row.state, row.value, row.sentence, row.changed_at)
        found.setdefault(row.vps_id, []).append(result)
    gravity = list(State)
    for results in found.values():
        results.sort(key=lambda each: (-gravity.index(State(each.state)), each.kind))
    return found


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [VpsServer.status != "deleted"]
    named = {
        VpsServer.tenant_id: wanted.tenant_id,
        VpsServer.provider: wanted.provider,
        VpsServer.region: wanted.region,
        VpsServer.agent_version: wanted.version,
    }
    conditions += [which == value for which, value in named.items() if value is not None]
    if wanted.state is not None:
        conditions.append(cast(_STATE, Text) == wanted.state.value)
    if wanted.check is not None:
        bad = HealthCheck.state.in_([State.WARN.value, State.FAIL.value])
        conditions.append(exists().where(HealthCheck.vps_id == VpsServer.id, HealthCheck.kind == wanted.check, bad))
    if wanted.where is not None:
        conditions.append(condition(parse(wanted.where)))
    return conditions
