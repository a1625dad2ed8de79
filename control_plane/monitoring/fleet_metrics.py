"""The newest values of every server as OpenMetrics text, so that who watches the fleet needs no way to its servers.

Labels are a server's host name, where it is, and what is in our own tables; no tenant is named. So there are as many
series as servers times metrics. The text is written out, since ten thousand servers make some hundred thousand lines.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.servers import is_reachable
from control_plane.monitoring.metrics import METRICS, Kind, Metric

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_STATES = ("ok", "warn", "fail", "unknown")
#: What METRICS name in parts is one metric with these labels.
_ATTEMPTS = "delivery_attempts"

# What is older than five minutes is no news; whose clock is that wrong, is told of without values.
_NEWEST = text(
    "SELECT v.hostname, v.provider, v.region, v.link_session, v.last_seen_at, newest.measured,"
    " coalesce(h.state, 'unknown') AS state"
    " FROM vps_servers v LEFT JOIN server_health h ON h.vps_id = v.id"
    " LEFT JOIN LATERAL (SELECT measured FROM health_reports r WHERE r.vps_id = v.id"
    "  AND r.reported_at > CAST(:now AS timestamptz) - interval '5 minutes' ORDER BY r.reported_at DESC LIMIT 1)"
    "  AS newest ON true"
    " WHERE v.status <> 'deleted' ORDER BY v.hostname"
)


@dataclass(frozen=True, slots=True)
class ServerValues:
    """A server's newest values, in the order of `METRICS`; none when it has not reported lately."""

    hostname: str
    provider: str
    region: str
    reachable: bool
    state: str
    measured: Sequence[float | None]

    @property
    def labels(self) -> str:
        """What each of its samples is labelled with."""
        named = (("server", self.hostname), ("provider", self.provider), ("region", self.region))
        return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in named)


async def newest_values(session: AsyncSession, now: dt.datetime) -> list[ServerValues]:
    """Return the newest values of each server that the session sees, by host name."""
    rows = await session.execute(_NEWEST, {"now": now})
    return [
        ServerValues(
            row.hostname,
            row.provider,
            row.region,
            is_reachable(row.link_session, row.last_seen_at, now),
            row.state,
            row.measured or (),
        )
        for row in rows
    ]


def render(servers: Sequence[ServerValues]) -> str:
    """Return them as text. Pure."""
    labelled = [(server, server.labels) for server in servers]
    lines = [
        *_family("up", Kind.GAUGE, "Whether a server holds a link and was heard of lately."),
        *(f"penguin_server_up{{{labels}}} {int(server.reachable)}" for server, labels in labelled),
        *_family("state", Kind.GAUGE, "1 for the state that its checks come to."),
        *(
            f'penguin_server_state{{{labels},state="{state}"}} {int(server.state == state)}'
            for server, labels in labelled
            for state in _STATES
        ),
    ]
    for place, metric in enumerate(METRICS):
        if "." not in metric.name:
            lines += _family(metric.name, metric.kind, "As its server reported it last.")
            lines += _samples(place, metric_sample(metric), labelled)
    lines += _family(_ATTEMPTS, Kind.COUNTER, "What became of attempts to deliver.")
    for place, metric in enumerate(METRICS):
        if "." in metric.name:
            lines += _samples(place, metric_sample(metric), labelled)
    return "\n".join((*lines, "# EOF", ""))


def metric_sample(metric: Metric) -> tuple[str, dict[str, str]]:
    """Return what a metric's samples are called, and the labels that they have beside their server's."""
    if "." in metric.name:
        outcome, destination = metric.name.split(".")
        return f"penguin_server_{_ATTEMPTS}_total", {"destination": destination, "outcome": outcome}
    return f"penguin_server_{metric.name}{'_total' if metric.kind is Kind.COUNTER else ''}", {}


def _samples(
    place: int, sample: tuple[str, dict[str, str]], labelled: Iterable[tuple[ServerValues, str]]
) -> Iterator[str]:
    name, more = sample[0], "".join(f',{label}="{value}"' for label, value in sample[1].items())
    for server, labels in labelled:
        if place < len(server.measured) and (value := server.measured[place]) is not None:
            yield f"{name}{{{labels}{more}}} {value!r}"


def _family(name: str, kind: Kind, meaning: str) -> list[str]:
    full = f"penguin_server_{name}"
    lines = [f"# TYPE {full} {kind.value}", f"# HELP {full} {meaning}"]
    return lines + [f"# UNIT {full} {unit}" for unit in ("seconds", "bytes", "ratio") if full.endswith(f"_{unit}")]
