"""How the servers that a session sees are: how many are how, and which are worst, by whatever is asked."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, Uuid, any_, case, cast, exists, func, literal, literal_column, select
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

    @property
    def rank(self) -> tuple[int, str]:
        """Its place among all of them, the worst first: how grave it is, and its name."""
        return list(State).index(State(self.state)), self.hostname


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many servers are in which state, and the worst of them."""

    totals: Mapping[str, int]
    servers: Sequence[Server]


async def fleet_health(
    session: AsyncSession, wanted: Wanted, limit: int = 100, after: tuple[int, str] | None = None
) -> Fleet:
    """Return what is asked for, of all that the session sees, and of the servers those behind the rank `after`.

    Raises `InvalidInput` for a question of no sense.
    """
    asked = (
        select(VpsServer.id, VpsServer.hostname, _STATE.label("state"), _GRAVITY.label("gravity"))
        .outerjoin(ServerHealthRow, ServerHealthRow.vps_id == VpsServer.id)
        .where(*_conditions(wanted))
        # Asked for twice, it is worked out once.
        .cte("asked")
    )
    counted = select(asked.c.state, func.count().label("servers")).group_by(asked.c.state).subquery()
    totals = select(func.jsonb_object_agg(counted.c.state, counted.c.servers))
    ranked = select(asked).order_by(asked.c.gravity.desc(), asked.c.hostname).limit(min(limit, MOST))
    if after is not None:
        gravity, hostname = after
        as_grave = (asked.c.gravity == gravity) & (asked.c.hostname > hostname)
        ranked = ranked.where((asked.c.gravity < gravity) | as_grave)
    worst = ranked.subquery()
    query = (
        select(
            VpsServer.id,
            VpsServer.tenant_id,
            VpsServer.hostname,
            VpsServer.provider,
            VpsServer.region,
            VpsServer.agent_version,
            worst.c.state,
            ServerHealthRow.checked_at,
            ServerHealthRow.metrics,
            totals.scalar_subquery().label("totals"),
        )
        .join_from(worst, VpsServer, VpsServer.id == worst.c.id)
        .outerjoin(ServerHealthRow, ServerHealthRow.vps_id == worst.c.id)
        .order_by(worst.c.gravity.desc(), worst.c.hostname)
    )
    rows = (await session.execute(query)).all()
    # Behind the last of them there are no rows to tell it.
    told = rows[0].totals if rows else await session.scalar(totals) or {}
    wrong = await checks_of(session, [row.id for row in rows], well_too=False)
    servers = [
        Server(
            row.id,
            row.tenant_id,
            row.hostname,
            row.provider,
            row.region,
            row.agent_version,
            row.state,
            row.checked_at,
            row.metrics or {},
            wrong.get(row.id, []),
        )
        for row in rows
    ]
    return Fleet({state.value: told.get(state.value, 0) for state in reversed(State)}, servers)


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
    ).where(HealthCheck.vps_id == any_(literal(servers, ARRAY(Uuid))))
    if not well_too:
        # Written out, as in idx_health_checks_not_well: a plan for any state does not use it.
        query = query.where(HealthCheck.state != literal_column(f"'{State.OK.value}'"))
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
