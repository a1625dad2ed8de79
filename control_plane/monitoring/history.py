"""A server's past: a metric as a series, and what changed before it got worse."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput
from control_plane.monitoring.metrics import (
    DERIVED,
    DESTINATIONS,
    METRICS,
    NAMES,
    Kind,
    derive,
    derive_destinations,
    gauges_of,
)
from control_plane.monitoring.samples import HOUR, STEP, floor

MOST_POINTS = 2000
#: For how long roll-ups of five minutes are kept.
_SAMPLES_KEPT = dt.timedelta(days=30)
#: How long before something got worse what may have led to it is looked for.
LOOK_BACK = dt.timedelta(hours=2)
#: Volumes that differ by so much are another volume.
_OTHER_VOLUME = 2.0

_ROWS = {
    table: text(
        f"SELECT at, measured FROM {table}"  # noqa: S608 - names of ours
        " WHERE vps_id = :vps AND at >= :from AND at < :to ORDER BY at"
    )
    for table in ("health_reports", "health_samples", "health_hours")
}
_CHANGES = text(
    "SELECT at, kind, detail FROM ("
    " SELECT applied_at AS at, 'configuration' AS kind, 'configuration ' || applied_version || ' was applied' AS detail"
    "  FROM vps_servers WHERE id = :vps"
    " UNION ALL SELECT agent_version_since, 'version', 'its agent became ' || coalesce(agent_version, 'another')"
    "  FROM server_health WHERE vps_id = :vps"
    " UNION ALL SELECT n.published_at, 'dns', n.record_type || ' ' || n.record_name || ' of ' || n.domain"
    "   || ' was published'"
    "  FROM dns_records n JOIN inboxes i ON i.tenant_id = n.tenant_id AND i.id = n.inbox_id WHERE i.vps_id = :vps"
    " UNION ALL SELECT i.created_at, 'inbox', 'the inbox ' || i.email_address || ' was made'"
    "  FROM inboxes i WHERE i.vps_id = :vps"
    ") AS changes WHERE at BETWEEN :from AND :to ORDER BY at DESC LIMIT 100"
)


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a step that begins at `at`."""

    at: dt.datetime
    value: float


@dataclass(frozen=True, slots=True)
class Change:
    """Something that changed: configuration, version, dns, inbox or volume."""

    at: dt.datetime
    kind: str
    detail: str


async def series(
    session: AsyncSession, vps_id: uuid.UUID, metric: str, *, start: dt.datetime, end: dt.datetime, step: dt.timedelta
) -> list[Point]:
    """Return a metric's points, such as `load_1m`, `deferred_ratio`, or `deferred_ratio.google`; none where none are.

    Raises `InvalidInput` for a metric that there is not, and for steps that are too small or too many.
    """
    name, _, destination = metric.partition(".")
    known = name in DERIVED and destination in DESTINATIONS if destination else name in NAMES
    if not known:
        raise InvalidInput(f"there is no metric {metric[:100]}", "/metric")
    if step < STEP or (end - start) / step > MOST_POINTS:
        raise InvalidInput(f"a step is {STEP.seconds} seconds or more, and there are {MOST_POINTS} at most", "/step")
    coarse = step >= HOUR and (step % HOUR == dt.timedelta(0) or end - start > _SAMPLES_KEPT)
    table = "health_hours" if coarse else "health_samples"
    rows = (await session.execute(_ROWS[table], {"vps": vps_id, "from": floor(start, step), "to": end})).all()
    steps: dict[dt.datetime, list[Sequence[float | None]]] = {}
    for row in rows:
        steps.setdefault(floor(row.at, step), []).append(row.measured)
    found = ((at, _value(_together(measured), name, destination)) for at, measured in steps.items())
    return [Point(at, value) for at, value in found if value is not None]


async def last_hour(
    session: AsyncSession, vps_id: uuid.UUID, now: dt.datetime
) -> list[tuple[dt.datetime, dict[str, float]]]:
    """Return the values of each report of the last hour; counters are left out, for they count from any beginning."""
    rows = await session.execute(_ROWS["health_reports"], {"vps": vps_id, "from": now - HOUR, "to": now})
    return [(row.at, _named(gauges_of(row.measured))) for row in rows]


async def changes_before(session: AsyncSession, vps_id: uuid.UUID, at: dt.datetime) -> list[Change]:
    """Return what changed in the two hours before a moment, newest first, and whether the volume did."""
    window = {"vps": vps_id, "from": at - LOOK_BACK, "to": at}
    changes = [Change(*row) for row in await session.execute(_CHANGES, window)]
    volume = await _volume_change(session, vps_id, at)
    return [*changes, *([volume] if volume else [])]


async def _volume_change(session: AsyncSession, vps_id: uuid.UUID, at: dt.datetime) -> Change | None:
    """Compare the attempts of the hour before with those of an hour of the day before that."""
    day = {"vps": vps_id, "from": at - 25 * HOUR, "to": at}
    rows = (await session.execute(_ROWS["health_samples"], day)).all()
    lately = sum(_attempts(row.measured) for row in rows if row.at >= at - HOUR)
    before = [row for row in rows if row.at < at - HOUR]
    if not before:
        return None
    hours = max(1.0, (at - HOUR - before[0].at) / HOUR)
    usual = sum(_attempts(row.measured) for row in before) / hours
    if max(lately, usual) < 1 or 1 / _OTHER_VOLUME < (lately + 1) / (usual + 1) < _OTHER_VOLUME:
        return None
    return Change(
        at - HOUR, "volume", f"{lately:.0f} attempts in the hour before, {usual:.0f} in an hour of the day before"
    )


def _attempts(measured: Sequence[float | None]) -> float:
    derived = derive(measured)
    return derived["delivered"] + derived["deferred"] + derived["bounced"]


def _named(measured: Sequence[float | None]) -> dict[str, float]:
    return {metric.name: value for metric, value in zip(METRICS, measured, strict=False) if value is not None}


def _together(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return one row of many, as roll-ups do: the mean of gauges, the sum of what was counted."""
    whole: list[float | None] = []
    for place, metric in enumerate(METRICS):
        values = [value for row in rows if place < len(row) and (value := row[place]) is not None]
        total = sum(values)
        whole.append(None if not values else total if metric.kind is Kind.COUNTER else total / len(values))
    return whole


def _value(measured: Sequence[float | None], name: str, destination: str) -> float | None:
    if destination:
        return derive_destinations(measured).get(destination, {}).get(name)
    return derive(measured).get(name)
