"""A server's past: a metric as a series, and the reports of the last hour. What changed: changes.py."""

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

_ROWS = {
    table: text(
        f"SELECT at, measured FROM {table}"  # noqa: S608 - names of ours
        " WHERE vps_id = :vps AND at >= :from AND at < :to ORDER BY at"
    )
    for table in ("health_reports", "health_samples", "health_hours")
}


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a step that begins at `at`."""

    at: dt.datetime
    value: float


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
