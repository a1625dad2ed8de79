"""`monitoring.health`: every five minutes all servers are checked, and what came of it is kept.

Load, look, keep: no session is held while servers are looked at. Servers whose row says that they are not monitored are
passed over, and what was found of them before is forgotten.
"""

import asyncio
import datetime as dt
import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.disks import first_to_end, rooms
from control_plane.fleet.hearing import excused_before as excused_before_now
from control_plane.fleet.reports import parse_report
from control_plane.fleet.units import stopped_units
from control_plane.monitoring.agent_memory import HOURS
from control_plane.monitoring.checks import Facts, check_all
from control_plane.monitoring.metrics import (
    FORECAST,
    POSITION,
    derive,
    derive_destinations,
    gauges_of,
    measure,
)
from control_plane.monitoring.probe import Look, believable, look_at
from control_plane.monitoring.rings import Ring
from control_plane.monitoring.samples import HOUR, STEP, drop_old, floor, roll_up
from control_plane.monitoring.states import Finding, worst
from db.session import Database
from protos.agent.v1.telemetry_pb2 import HealthReport

Looking = Callable[[str], Awaitable[Mapping[int, Look]]]

#: Servers that are looked at side by side.
_AT_ONCE = 50

_SERVERS = text(
    "SELECT v.id, v.tenant_id, host(v.ip_address) AS address, v.last_seen_at, v.cloned_at,"
    " v.clock_offset_ms, v.agent_version, v.desired_version, v.applied_version, v.mail_server_status,"
    " r.report::text AS report, s.measured,"
    " coalesce(d.records, 0) AS dns_records, coalesce(d.wrong, 0) AS dns_wrong,"
    " coalesce(d.dkim, 0) AS dkim_records, coalesce(d.dkim_wrong, 0) AS dkim_wrong, p.findings,"
    " t.set_at AS backed_up_since, m.agent_memory"
    " FROM vps_servers v"
    " LEFT JOIN vps_reports r ON r.vps_id = v.id"
    " LEFT JOIN mail_backup_targets t ON t.tenant_id = v.tenant_id AND t.removed_at IS NULL"
    " LEFT JOIN LATERAL (SELECT measured FROM health_samples WHERE vps_id = v.id"
    "  AND at >= CAST(:recent AS timestamptz) ORDER BY at DESC LIMIT 1) s ON true"
    " LEFT JOIN LATERAL (SELECT array_agg(measured[:memory] ORDER BY at) AS agent_memory FROM health_hours"
    "  WHERE vps_id = v.id AND slot = ANY(CAST(:memory_slots AS smallint[]))"
    "  AND at >= CAST(:memory_from AS timestamptz) AND at < CAST(:memory_to AS timestamptz)"
    "  AND measured[:memory] IS NOT NULL) m ON true"
    " LEFT JOIN (SELECT i.vps_id, count(*) AS records,"
    "  count(*) FILTER (WHERE n.verification_status = 'mismatch') AS wrong,"
    "  count(*) FILTER (WHERE n.record_name LIKE '%._domainkey%') AS dkim,"
    "  count(*) FILTER (WHERE n.record_name LIKE '%._domainkey%' AND n.verification_status = 'mismatch') AS dkim_wrong"
    "  FROM dns_records n JOIN inboxes i ON i.tenant_id = n.tenant_id AND i.id = n.inbox_id GROUP BY i.vps_id) d"
    "  ON d.vps_id = v.id"
    " LEFT JOIN (SELECT vps_id, jsonb_agg(jsonb_build_array(kind, verdict, detail)) AS findings FROM preflight_results"
    "  GROUP BY vps_id) p ON p.vps_id = v.id"
    " WHERE v.status = 'ready' AND v.monitoring_enabled"
)
_FORGET = [
    text(
        f"DELETE FROM {table} h USING vps_servers v WHERE v.id = h.vps_id"  # noqa: S608 - names of ours
        " AND NOT (v.status = 'ready' AND v.monitoring_enabled)"
    )
    for table in ("health_checks", "server_health")
]
# Ten thousand servers have more than a hundred thousand checks: one statement, and only what is another is written.
_KEEP_CHECKS = text(
    "INSERT INTO health_checks AS kept (vps_id, tenant_id, kind, state, value, sentence, at, changed_at)"
    " SELECT c.vps_id, c.tenant_id, c.kind, c.state, c.value, c.sentence, :now, :now"
    " FROM jsonb_to_recordset(CAST(:findings AS jsonb))"
    "  AS c (vps_id uuid, tenant_id uuid, kind text, state text, value double precision, sentence text)"
    " ON CONFLICT (vps_id, kind) DO UPDATE SET state = excluded.state, value = excluded.value,"
    "  sentence = excluded.sentence, at = excluded.at,"
    "  changed_at = CASE WHEN kept.state = excluded.state THEN kept.changed_at ELSE excluded.at END"
    " WHERE (kept.state, kept.value, kept.sentence)"
    "  IS DISTINCT FROM (excluded.state, excluded.value, excluded.sentence)"
)
_KEEP_HEALTH = text(
    "INSERT INTO server_health AS kept"
    " (vps_id, tenant_id, checked_at, state, metrics, agent_version, agent_version_since, shut_ports)"
    " SELECT c.vps_id, c.tenant_id, :now, c.state, c.metrics, c.agent_version, :now, c.shut_ports"
    " FROM jsonb_to_recordset(CAST(:servers AS jsonb))"
    "  AS c (vps_id uuid, tenant_id uuid, state text, metrics jsonb, agent_version text, shut_ports integer[])"
    " ON CONFLICT (vps_id) DO UPDATE SET checked_at = excluded.checked_at, state = excluded.state,"
    "  metrics = excluded.metrics, shut_ports = excluded.shut_ports,"
    "  agent_version = excluded.agent_version, agent_version_since = CASE"
    "  WHEN kept.agent_version IS DISTINCT FROM excluded.agent_version THEN excluded.checked_at"
    "  ELSE kept.agent_version_since END"
)
_PREFLIGHT_GRAVITY = ("passed", "unknown", "warned", "pending", "failed")


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of checking one server."""

    vps_id: uuid.UUID
    tenant_id: uuid.UUID
    agent_version: str | None
    findings: Sequence[Finding]
    metrics: Mapping[str, Any]
    shut_ports: Sequence[int] = ()


async def check_health(
    database: Database, now: dt.datetime, clock_tolerance_seconds: float, looking: Looking = look_at
) -> list[Checked]:
    """Roll up, check every server that is monitored, keep what was found and return it; system role."""
    async with database.system() as session:
        await roll_up(session, now)
        await drop_old(session, now)
        excused_before = await excused_before_now(session, now)
        rows = await _load(session, now)
    looks = await _look_at_all(rows, looking)
    usual = _usual_version(rows)
    known = _Known(now, excused_before, usual, clock_tolerance_seconds)
    checked = [_check(row, looks[row.id], known) for row in rows]
    async with database.system() as session:
        await _keep(session, now, checked)
    return checked


async def _load(session: AsyncSession, now: dt.datetime) -> Sequence[Row[Any]]:
    return (await session.execute(_SERVERS, {"recent": now - 3 * STEP, **_memory(now)})).all()


def _memory(now: dt.datetime) -> dict[str, object]:
    """Say where the hours lie that an agent's memory is told by: those that are over."""
    end = floor(now, HOUR)
    start = end - (HOURS + 1) * HOUR
    place = POSITION["agent_memory_bytes"] + 1
    return {"memory": place, "memory_slots": Ring.HOURS.slots(start, end), "memory_from": start, "memory_to": end}


async def _look_at_all(rows: Sequence[Row[Any]], looking: Looking) -> dict[uuid.UUID, Mapping[int, Look]]:
    room = asyncio.Semaphore(_AT_ONCE)

    async def look(row: Row[Any]) -> Mapping[int, Look]:
        async with room:
            return await looking(row.address)

    return believable(dict(zip((row.id for row in rows), await asyncio.gather(*map(look, rows)), strict=True)))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is the same for all servers of one check."""

    now: dt.datetime
    excused_before: dt.datetime
    usual_version: str | None
    clock_tolerance_seconds: float


def _check(row: Row[Any], looks: Mapping[int, Look], known: _Known) -> Checked:
    report = parse_report(row.report) if row.report else None
    measured = row.measured or (measure(report, row.clock_offset_ms) if report else [])
    metrics = derive(row.measured or gauges_of(measured))
    facts = Facts(
        now=known.now,
        last_seen_at=row.last_seen_at,
        excused_before=known.excused_before,
        cloned_at=row.cloned_at,
        report=report,
        looks=looks,
        preflight=_preflight(row.findings or []),
        dns_records=row.dns_records,
        dns_wrong=row.dns_wrong,
        dkim_records=row.dkim_records,
        dkim_wrong=row.dkim_wrong,
        clock_offset_ms=row.clock_offset_ms,
        clock_tolerance_seconds=known.clock_tolerance_seconds,
        agent_version=row.agent_version,
        usual_version=known.usual_version,
        desired_version=row.desired_version,
        applied_version=row.applied_version,
        mail_server_status=row.mail_server_status,
        backed_up_since=row.backed_up_since,
        agent_memory=row.agent_memory or (),
        metrics=metrics,
    )
    destinations = derive_destinations(row.measured or [])
    return Checked(
        row.id,
        row.tenant_id,
        row.agent_version,
        check_all(facts),
        {**metrics, **_forecast(facts.said), "destinations": destinations},
        _shut_ports(facts),
    )


def _forecast(report: HealthReport | None) -> dict[str, float]:
    """Return when the first of its disks is full, if it foretells any."""
    first = first_to_end(rooms(report.disks)) if report else None
    return {FORECAST: first[1]} if first else {}


def _shut_ports(facts: Facts) -> Sequence[int]:
    """Return the ports that nobody answered at, though nothing that the server says explains it."""
    if facts.said is not None and stopped_units(facts.said):
        return ()
    return sorted(port for port, look in facts.looks.items() if look.error)


def _preflight(findings: Sequence[Sequence[str]]) -> dict[str, tuple[str, str]]:
    """Return of each kind the gravest verdict with its sentence."""
    worst_of: dict[str, tuple[str, str]] = {}
    for kind, verdict, detail in sorted(findings, key=lambda each: _PREFLIGHT_GRAVITY.index(each[1])):
        worst_of[kind] = (verdict, detail)
    return worst_of


def _usual_version(rows: Sequence[Row[Any]]) -> str | None:
    """Return the agent that most servers run, and more than one of them."""
    versions = Counter(row.agent_version for row in rows if row.agent_version)
    return next((version for version, count in versions.most_common(1) if count > 1), None)


async def keep_findings(session: AsyncSession, now: dt.datetime, checked: Sequence[Checked]) -> None:
    """Keep what was found; what was found before and not now stays."""
    findings = [
        {
            **_key(each),
            "kind": found.check,
            "state": found.state,
            "value": found.value,
            "sentence": found.sentence[:1000],
        }
        for each in checked
        for found in each.findings
    ]
    await session.execute(_KEEP_CHECKS, {"now": now, "findings": json.dumps(findings)})


async def _keep(session: AsyncSession, now: dt.datetime, checked: Sequence[Checked]) -> None:
    for forget in _FORGET:
        await session.execute(forget)
    servers = [
        {
            **_key(each),
            "state": worst(found.state for found in each.findings),
            "metrics": each.metrics,
            "agent_version": each.agent_version,
            "shut_ports": list(each.shut_ports),
        }
        for each in checked
    ]
    await keep_findings(session, now, checked)
    await session.execute(_KEEP_HEALTH, {"now": now, "servers": json.dumps(servers)})


def _key(checked: Checked) -> dict[str, str]:
    return {"vps_id": str(checked.vps_id), "tenant_id": str(checked.tenant_id)}
