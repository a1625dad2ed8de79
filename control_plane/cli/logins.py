"""Who came in at a server, in lines for people. Pure."""

import datetime as dt

from protos.agent.v1.telemetry_pb2 import HealthReport


def login_lines(report: HealthReport | None) -> list[str]:
    """Say how many log-ins there were, and since when; nothing where the server does not tell."""
    if report is None or not report.HasField("logins"):
        return []
    logins = report.logins
    since = dt.datetime.fromtimestamp(report.counting_since_ms / 1000, dt.UTC)
    return [f"log-ins {logins.succeeded}, failed {logins.failed}, since {since:%Y-%m-%d %H:%M}"]
