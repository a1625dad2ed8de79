"""What servers tell of themselves, kept: health reports and what became of a configuration."""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.json_format import Parse, ParseError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput
from control_plane.fleet.disks import is_nearly_full
from control_plane.fleet.report_json import as_json
from control_plane.fleet.units import stopped_units
from protos.agent.v1.configuration_pb2 import ConfigurationResult
from protos.agent.v1.telemetry_pb2 import HealthReport

_STATUS_OF_OUTCOME = {
    ConfigurationResult.OUTCOME_APPLIED: "running",
    ConfigurationResult.OUTCOME_REFUSED: "refused",
    ConfigurationResult.OUTCOME_ROLLED_BACK: "rolled_back",
}

_KEEP_REPORTS = text(
    "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
    " SELECT v.id, v.tenant_id, told.reported_at, now(), told.report"
    " FROM ROWS FROM (unnest(CAST(:vps AS uuid[])), unnest(CAST(:reported_at AS timestamptz[])),"
    "  jsonb_array_elements(CAST(:reports AS jsonb))) AS told (vps, reported_at, report)"
    " JOIN vps_servers v ON v.id = told.vps"
    " ON CONFLICT (vps_id) DO UPDATE SET reported_at = excluded.reported_at, received_at = excluded.received_at,"
    " report = excluded.report"
)
# The link is written with each report: another hub, starting, may have cleared it as its own.
_SEEN = text(
    "UPDATE vps_servers v SET last_seen_at = now(), link_session = told.link, agent_version = told.agent_version,"
    " stopped_units = ARRAY(SELECT jsonb_array_elements_text(CAST(told.stopped_units AS jsonb))),"
    " disk_nearly_full = told.disk_nearly_full,"
    " ssl_certificate_expires = coalesce(told.certificate_expires, v.ssl_certificate_expires),"
    " clock_offset_ms = coalesce(told.clock_offset_ms, v.clock_offset_ms),"
    " clock_measured_at = CASE WHEN told.clock_offset_ms IS NULL THEN v.clock_measured_at ELSE now() END"
    " FROM unnest(CAST(:vps AS uuid[]), CAST(:link AS uuid[]), CAST(:agent_version AS text[]),"
    "  CAST(:stopped_units AS text[]), CAST(:disk_nearly_full AS boolean[]),"
    "  CAST(:certificate_expires AS timestamptz[]), CAST(:clock_offset_ms AS bigint[]))"
    "  AS told (vps, link, agent_version, stopped_units, disk_nearly_full, certificate_expires, clock_offset_ms)"
    " WHERE v.id = told.vps"
)
_SEEN_COLUMNS = (
    "vps",
    "link",
    "agent_version",
    "stopped_units",
    "disk_nearly_full",
    "certificate_expires",
    "clock_offset_ms",
)
# A result for a version older than the one that runs is news of the past.
_KEEP_RESULT = text(
    "UPDATE vps_servers SET mail_server_status = :status, applied_detail = :detail, settled_version = :version,"
    " applied_version = CASE WHEN :applied THEN :version ELSE applied_version END,"
    " applied_at = CASE WHEN :applied THEN now() ELSE applied_at END"
    " WHERE id = :vps AND :version >= applied_version AND :version <= desired_version"
)
_NOTIFY = text("SELECT pg_notify('configuration_applied', :vps)")


Row = Mapping[str, object]


def report_row(
    vps_id: uuid.UUID, link: uuid.UUID, report: HealthReport, clock_offset_ms: int | None = None
) -> dict[str, object]:
    """Return what is kept of a report that came over this link, and of its clock's offset if it is known.

    Raises `InvalidInput` when the report holds what no server can mean.
    """
    for at_ms in (report.certificate_issue.last_attempt_ms, report.certificate_issue.next_attempt_ms):
        # Shown as times later.
        moment(at_ms)
    return {
        "vps": vps_id,
        "reported_at": moment(report.at_ms),
        "report": _as_json(report),
        "link": link,
        "agent_version": report.agent_version[:100] or None,
        "certificate_expires": _first_expiry(report),
        "clock_offset_ms": clock_offset_ms,
        "stopped_units": json.dumps(stopped_units(report)),
        "disk_nearly_full": is_nearly_full(report),
    }


async def record_reports(session: AsyncSession, rows: Sequence[Row]) -> None:
    """Keep rows that `report_row` made, one of a server at most, as the newest of each server."""
    # One JSON text: in an array of many, each quotation mark would have to be marked as one.
    reports = f"[{','.join(str(row['report']) for row in rows)}]"
    await session.execute(_KEEP_REPORTS, {**_columns(rows, ("vps", "reported_at")), "reports": reports})
    await session.execute(_SEEN, _columns(rows, _SEEN_COLUMNS))


async def record_configuration_result(session: AsyncSession, vps_id: uuid.UUID, result: ConfigurationResult) -> None:
    """Keep what became of a desired state, and tell whoever waits for it; what a newer agent may say is a refusal.

    Raises `InvalidInput` for a result without an outcome.
    """
    if result.outcome == ConfigurationResult.OUTCOME_UNSPECIFIED:
        raise InvalidInput("the configuration result has no outcome", "/outcome")
    status = _STATUS_OF_OUTCOME.get(result.outcome, "refused")
    row = {
        "vps": vps_id,
        "status": status,
        "detail": result.detail.replace("\0", ""),
        "applied": result.outcome == ConfigurationResult.OUTCOME_APPLIED,
        "version": result.version,
    }
    await session.execute(_KEEP_RESULT, row)
    await session.execute(_NOTIFY, {"vps": str(vps_id)})


def _columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[object]]:
    return {name: [row[name] for row in rows] for name in names}


def moment(milliseconds: int) -> datetime:
    """Return a moment of a server's clock; raise `InvalidInput` for one that no calendar has."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise InvalidInput("the time is out of range", "/at_ms") from error


def parse_report(report_json: str) -> HealthReport:
    """Return a kept report; fields that this version does not know are left out."""
    try:
        return Parse(report_json, HealthReport(), ignore_unknown_fields=True)
    except ParseError as error:
        raise InvalidInput("the kept report cannot be read") from error


def _first_expiry(report: HealthReport) -> datetime | None:
    """Return when the first of the served certificates runs out, of those that could be read."""
    return min((moment(c.not_after_ms) for c in report.certificates if not c.error and c.not_after_ms), default=None)


def _as_json(report: HealthReport) -> str:
    rendered = as_json(report)
    if "\\u0000" in rendered:
        # PostgreSQL's jsonb cannot hold it.
        raise InvalidInput("the report holds a NUL character")
    return rendered
