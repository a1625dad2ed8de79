"""Values of reports over time: kept as they come, rolled up to five minutes and to hours, dropped by their time."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.reports import moment
from control_plane.monitoring.metrics import COUNTER_POSITIONS, Measured, measure
from control_plane.monitoring.rings import Ring
from protos.agent.v1.telemetry_pb2 import HealthReport

STEP = dt.timedelta(minutes=5)
HOUR = dt.timedelta(hours=1)
#: How much older than the report it comes with a report of the backlog may be, and how many of them are taken.
BACKLOG_SPAN = HOUR
MOST_BACKLOG = 120

_KEEP = text(
    "INSERT INTO health_reports (tenant_id, vps_id, reported_at, at, slot, measured)"
    " SELECT v.tenant_id, v.id, told.reported_at, told.at, told.slot, CAST(told.measured AS double precision[])"
    " FROM unnest(CAST(:vps AS uuid[]), CAST(:reported_at AS timestamptz[]), CAST(:at AS timestamptz[]),"
    "  CAST(:slot AS smallint[]), CAST(:measured AS text[])) AS told (vps, reported_at, at, slot, measured)"
    " JOIN vps_servers v ON v.id = told.vps ON CONFLICT DO NOTHING"
)
# A counter's growth is the sum of its steps up: one that is less than before has begun again. The step into the first
# report of a window starts in the one before it.
_ROLL_UP = text(
    "INSERT INTO health_samples (tenant_id, vps_id, at, slot, measured)"
    " SELECT tenant_id, vps_id, bin, floor(extract(epoch FROM bin) / 86400)::bigint % 32,"
    "  array_agg(value ORDER BY place)"
    " FROM (SELECT s.tenant_id, s.vps_id, s.bin, u.place, CASE WHEN u.place = ANY(CAST(:counters AS bigint[]))"
    "   THEN sum(CASE WHEN u.value >= u.before THEN u.value - u.before WHEN u.before IS NOT NULL THEN u.value END)"
    "   ELSE avg(u.value) END AS value"
    "  FROM (SELECT tenant_id, vps_id, at, date_bin('5 minutes', at, 'epoch') AS bin, measured,"
    "    lag(measured) OVER (PARTITION BY vps_id ORDER BY at) AS before FROM health_reports"
    "   WHERE slot = ANY(CAST(:slots AS smallint[]))"
    "    AND at >= CAST(:from AS timestamptz) - interval '5 minutes' AND at < :to"
    "    AND (CAST(:servers AS uuid[]) IS NULL OR vps_id = ANY(CAST(:servers AS uuid[])))) AS s,"
    "   unnest(s.measured, s.before) WITH ORDINALITY AS u (value, before, place)"
    "  WHERE s.at >= :from GROUP BY s.tenant_id, s.vps_id, s.bin, u.place) AS values"
    " GROUP BY tenant_id, vps_id, bin"
    " ON CONFLICT (vps_id, at, slot) DO UPDATE SET measured = excluded.measured"
)
_ROLL_UP_HOURS = text(
    "INSERT INTO health_hours (tenant_id, vps_id, at, slot, measured)"
    " SELECT tenant_id, vps_id, hour,"
    "  ((extract(year FROM hour AT TIME ZONE 'UTC')::int - 1970) * 12"
    "   + extract(month FROM hour AT TIME ZONE 'UTC')::int - 1) % 26, array_agg(value ORDER BY place)"
    " FROM (SELECT s.tenant_id, s.vps_id, date_trunc('hour', s.at, 'UTC') AS hour, u.place,"
    "   CASE WHEN u.place = ANY(CAST(:counters AS bigint[])) THEN sum(u.value) ELSE avg(u.value) END AS value"
    "  FROM health_samples s, unnest(s.measured) WITH ORDINALITY AS u (value, place)"
    "  WHERE s.slot = ANY(CAST(:slots AS smallint[])) AND s.at >= :from AND s.at < :to"
    "  GROUP BY s.tenant_id, s.vps_id, hour, u.place) AS values"
    " GROUP BY tenant_id, vps_id, hour"
    " ON CONFLICT (vps_id, at, slot) DO UPDATE SET measured = excluded.measured"
)
_CAME_LATE = text("SELECT DISTINCT vps_id FROM health_reports WHERE received_at >= :start AND at < :start")
_LAST_WINDOW = text(
    "SELECT max(at) FROM health_samples WHERE slot = ANY(CAST(:slots AS smallint[])) AND at >= :from AND at < :to"
)


@dataclass(frozen=True, slots=True)
class Row:
    """The values of a report, and when that was by its server's clock."""

    reported_at: dt.datetime
    measured: Measured


def value_rows(
    vps_id: uuid.UUID, report: HealthReport, received_at: dt.datetime, clock_offset_ms: int | None = None
) -> list[Row]:
    """Return the values of a report and of those that it brings along from while the server was away.

    Raises `InvalidInput` for a moment that no calendar has.
    """
    rows = [_row(vps_id, report, received_at, clock_offset_ms)]
    for late in report.backlog[-MOST_BACKLOG:]:
        # How old it is, its own clock says best.
        age = dt.timedelta(milliseconds=report.at_ms - late.at_ms)
        if dt.timedelta(0) < age <= BACKLOG_SPAN:
            rows.append(_row(vps_id, late, received_at - age, None))
    return rows


async def keep_values(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Keep rows that `value_rows` made, of any servers; one that is kept already is left as it is."""
    columns: dict[str, object] = {
        "vps": [row.measured.vps_id for row in rows],
        "reported_at": [row.reported_at for row in rows],
        "at": [row.measured.at for row in rows],
        "slot": [Ring.REPORTS.slot(row.measured.at) for row in rows],
        # Written here, for digits need none of the marks that the driver looks for.
        "measured": "{" + ",".join(f'"{_as_array(row.measured.values)}"' for row in rows) + "}",
    }
    await session.execute(_KEEP, columns)


async def roll_up(session: AsyncSession, now: dt.datetime) -> None:
    """Roll up the windows that ended since it was done last, and the hours they are in.

    For servers of which something from before came only since then, all of the last hour is rolled up again. The last
    window is rolled up in any case; twice comes to the same. What ended more than an hour ago is not looked for.
    """
    end = floor(now, STEP)
    start = await _first_open(session, end)
    late = list(await session.scalars(_CAME_LATE, {"start": start}))
    await _roll(session, start, end, None)
    if late:
        await _roll(session, end - HOUR, start, late)
    hours = {"from": floor(end - HOUR if late else start, HOUR), "to": end}
    slots = Ring.SAMPLES.slots(hours["from"], end)
    await session.execute(_ROLL_UP_HOURS, {**hours, "slots": slots, "counters": COUNTER_POSITIONS})


async def drop_old(session: AsyncSession, now: dt.datetime) -> None:
    """Empty the slot of each ring that comes next, unless it is empty."""
    for ring in Ring:
        partition = ring.partition(ring.next_slot(now))
        if await session.scalar(text(f"SELECT EXISTS (SELECT FROM {partition})")):  # noqa: S608 - a name of ours
            await session.execute(text(f"TRUNCATE {partition}"))


def floor(at: dt.datetime, step: dt.timedelta) -> dt.datetime:
    """Return the beginning of the step, counted from 1970 in UTC, that a moment is in."""
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return at - (at - epoch) % step


async def _first_open(session: AsyncSession, end: dt.datetime) -> dt.datetime:
    """Return the beginning of the first window of the last hour that was not rolled up, or of the last one."""
    slots = Ring.SAMPLES.slots(end - HOUR, end)
    last = await session.scalar(_LAST_WINDOW, {"from": end - HOUR, "to": end, "slots": slots})
    return end - HOUR if last is None else min(last + STEP, end - STEP)


async def _roll(
    session: AsyncSession, start: dt.datetime, end: dt.datetime, servers: Sequence[uuid.UUID] | None
) -> None:
    values = {"from": start, "to": end, "servers": servers, "slots": Ring.REPORTS.slots(start - STEP, end)}
    await session.execute(_ROLL_UP, {**values, "counters": COUNTER_POSITIONS})


def _row(vps_id: uuid.UUID, report: HealthReport, at: dt.datetime, clock_offset_ms: int | None) -> Row:
    return Row(moment(report.at_ms), Measured(vps_id, at, measure(report, clock_offset_ms)))


def _as_array(values: Sequence[float | None]) -> str:
    """Return PostgreSQL's text of an array: arrays of different lengths do not go into one parameter as they are."""
    return "{" + ",".join("NULL" if value is None else repr(float(value)) for value in values) + "}"
