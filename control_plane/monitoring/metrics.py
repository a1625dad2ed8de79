"""The metrics of a server: what each is called, where its value lies in a row, and how a report gives it. Pure.

Rows hold values by position, a third of what names would take. A new metric goes to the END of `METRICS`; rows that are
older have nothing there.
"""

import datetime as dt
import enum
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from protos.agent.v1.telemetry_pb2 import Disk, HealthReport, Host

DESTINATIONS = ("google", "microsoft", "yahoo", "apple", "other")
OUTCOMES = ("delivered", "deferred", "bounced")
#: What came of handing sends over to a server's own Postfix.
HAND_OVERS = ("handed_over", "hand_over_refused")
_DAY_MS = 86_400_000


class Kind(enum.Enum):
    """How a row of many reports comes from one: by the mean, or by how much was counted meanwhile."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name; counters begin again with whatever counts them."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Measured:
    """The values of one report in the order of `METRICS`; None is what it did not say."""

    vps_id: uuid.UUID
    at: dt.datetime
    values: Sequence[float | None]

    @property
    def samples(self) -> int:
        """How many samples it comes to."""
        return sum(value is not None for value in self.values)


def _gauges(*names: str) -> list[Metric]:
    return [Metric(name, Kind.GAUGE) for name in names]


def _counters(*names: str) -> list[Metric]:
    return [Metric(name, Kind.COUNTER) for name in names]


METRICS = (
    *_gauges("load_1m", "cpu_percent", "memory_used_ratio", "swap_used_ratio", "disk_used_ratio", "inodes_used_ratio"),
    *_gauges("disk_free_bytes", "queue_incoming", "queue_active", "queue_deferred", "queue_hold"),
    *_gauges("queue_oldest_seconds", "certificate_days", "clock_offset_seconds", "spooled_events", "in_hand"),
    *_gauges("in_postfix"),
    *_counters("network_received_bytes", "network_sent_bytes", "unit_restarts"),
    *_counters(*(f"{outcome}.{destination}" for destination in DESTINATIONS for outcome in OUTCOMES)),
    *_counters(*HAND_OVERS),
    *_gauges("agent_memory_bytes", "updates_waiting", "security_updates_waiting"),
    *_counters("logins", "login_failures"),
    *_gauges("queue_corrupt", "unsigned_domains"),
)
_METRIC_NAMES = [metric.name for metric in METRICS]
POSITION = {metric.name: place for place, metric in enumerate(METRICS)}
#: Positions as PostgreSQL counts them.
COUNTER_POSITIONS = [place for place, metric in enumerate(METRICS, start=1) if metric.kind is Kind.COUNTER]
#: What is worked out from outcomes, of one destination or of all.
DERIVED = (*OUTCOMES, "deferred_ratio", "bounced_ratio")
#: Seconds until the first of its disks is full, as its agent foretells; kept with what came of its checks alone.
FORECAST = "disk_full_seconds"
#: Whatever a question may name.
NAMES = (*(metric.name for metric in METRICS if "." not in metric.name), *DERIVED, FORECAST)


def measure(report: HealthReport, clock_offset_ms: int | None = None) -> list[float | None]:
    """Return a report's values in the order of `METRICS`; None for what it does not say."""
    told = dict(_values(report))
    if clock_offset_ms is not None:
        told["clock_offset_seconds"] = clock_offset_ms / 1000
    # Not a number, or without end, is nothing that a server can mean.
    return [value if value is not None and math.isfinite(value) else None for value in map(told.get, _METRIC_NAMES)]


def gauges_of(measured: Sequence[float | None]) -> list[float | None]:
    """Return a single report's values without its counters, which count from any beginning."""
    pairs = zip(METRICS, measured, strict=False)
    return [value if metric.kind is Kind.GAUGE else None for metric, value in pairs]


def derive(measured: Sequence[float | None]) -> dict[str, float]:
    """Return a roll-up's values by name, with what follows from the outcomes of all destinations together."""
    named = {
        metric.name: value
        for metric, value in zip(METRICS, measured, strict=False)
        if value is not None and "." not in metric.name
    }
    counted = [_outcomes(measured, destination) for destination in DESTINATIONS]
    return named | _ratios({outcome: sum(each[outcome] for each in counted) for outcome in OUTCOMES})


def derive_destinations(measured: Sequence[float | None]) -> dict[str, dict[str, float]]:
    """Return what follows from the outcomes of each destination that was tried."""
    counted = {destination: _outcomes(measured, destination) for destination in DESTINATIONS}
    return {destination: _ratios(outcomes) for destination, outcomes in counted.items() if any(outcomes.values())}


def _outcomes(measured: Sequence[float | None], destination: str) -> dict[str, float]:
    places = {outcome: POSITION[f"{outcome}.{destination}"] for outcome in OUTCOMES}
    return {outcome: (measured[place] or 0.0) if place < len(measured) else 0.0 for outcome, place in places.items()}


def _ratios(outcomes: Mapping[str, float]) -> dict[str, float]:
    attempts = sum(outcomes.values())
    found = dict(outcomes)
    if attempts:
        found["deferred_ratio"] = outcomes["deferred"] / attempts
        found["bounced_ratio"] = outcomes["bounced"] / attempts
    return found


def _values(report: HealthReport) -> Iterator[tuple[str, float]]:
    if report.HasField("host"):
        yield from _host(report.host)
    yield from _disks(report.disks)
    yield from _mail(report)
    if report.agent_rss_bytes:
        yield "agent_memory_bytes", float(report.agent_rss_bytes)
    if report.HasField("package_updates"):
        yield "updates_waiting", float(report.package_updates.waiting)
        yield "security_updates_waiting", float(report.package_updates.security)
    if report.HasField("network"):
        yield "network_received_bytes", float(report.network.received_bytes)
        yield "network_sent_bytes", float(report.network.sent_bytes)
    if report.units:
        yield "unit_restarts", float(sum(unit.restarts for unit in report.units))
    for destination in report.destinations:
        for outcome in OUTCOMES:
            yield f"{outcome}.{destination.provider}", float(getattr(destination, outcome))


def _host(host: Host) -> Iterator[tuple[str, float]]:
    yield "load_1m", host.load_1m
    if host.HasField("cpu_percent"):
        yield "cpu_percent", host.cpu_percent
    yield "memory_used_ratio", _used(host.memory_available_bytes, host.memory_total_bytes)
    yield "swap_used_ratio", _used(host.swap_free_bytes, host.swap_total_bytes)


def _mail(report: HealthReport) -> Iterator[tuple[str, float]]:
    if report.HasField("postfix_queue"):
        queue = report.postfix_queue
        for state in ("incoming", "active", "deferred", "hold"):
            yield f"queue_{state}", float(getattr(queue, state))
        yield "queue_oldest_seconds", queue.oldest_seconds
        if queue.HasField("corrupt"):
            yield "queue_corrupt", float(queue.corrupt)
    if report.HasField("signing_test"):
        yield "unsigned_domains", float(report.signing_test.failed)
    if report.HasField("logins"):
        yield "logins", float(report.logins.succeeded)
        yield "login_failures", float(report.logins.failed)
    if ends := [served.not_after_ms for served in report.certificates if not served.error]:
        yield "certificate_days", (min(ends) - report.at_ms) / _DAY_MS
    if report.HasField("relay"):
        for name in ("spooled_events", "in_hand", "in_postfix", "handed_over"):
            yield name, float(getattr(report.relay, name))
        yield "hand_over_refused", float(report.relay.refused)


def _disks(disks: Sequence[Disk]) -> Iterator[tuple[str, float]]:
    """Tell of the fullest, for the first that is full stops the mail."""
    if disks:
        fullest = max(disks, key=lambda disk: _used(disk.free_bytes, disk.total_bytes))
        yield "disk_used_ratio", _used(fullest.free_bytes, fullest.total_bytes)
        yield "disk_free_bytes", float(fullest.free_bytes)
        yield "inodes_used_ratio", max(_used(disk.inodes_free, disk.inodes_total) for disk in disks)


def _used(free: int, total: int) -> float:
    return 1 - free / total if total else 0.0
