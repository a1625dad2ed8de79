"""What of a server's packages could be updated, in lines for people. Pure."""

import datetime as dt

from protos.agent.v1.telemetry_pb2 import HealthReport, OfferedPackage


def update_lines(report: HealthReport | None) -> list[str]:
    """Say what waits, and which versions a plan for mail packages may name; nothing where the server does not tell."""
    if report is None or not report.HasField("package_updates"):
        return []
    updates = report.package_updates
    lists = dt.datetime.fromtimestamp(updates.lists_ms / 1000, dt.UTC)
    head = f"package updates {updates.waiting}, {updates.security} for security, by the lists of {lists:%Y-%m-%d %H:%M}"
    return [head, *(f"  {_offered(each)}" for each in updates.mail)]


def _offered(package: OfferedPackage) -> str:
    line = f"{package.name} {package.installed}, offered {package.offered}"
    return line + (", for security" if package.security else "") + (", held" if package.held else "")
