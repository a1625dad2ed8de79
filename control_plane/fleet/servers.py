"""How servers are, for people: one server's health, and the fleet in pages."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.json_format import MessageToDict
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import utc_now
from control_plane.fleet.reports import parse_report
from protos.agent.v1.telemetry_pb2 import HealthReport

#: A server that was not heard of for this long, three reports, is taken for unreachable.
SILENCE = timedelta(seconds=45)

_SERVERS = (
    "SELECT v.id, v.tenant_id, v.hostname, v.status, v.mail_server_status, v.agent_version, v.desired_version,"
    " v.applied_version, v.last_seen_at, v.link_session, v.clock_offset_ms, v.clock_measured_at, r.reported_at,"
    " r.received_at, r.report::text AS report"
    " FROM vps_servers v LEFT JOIN vps_reports r ON r.tenant_id = v.tenant_id AND r.vps_id = v.id"
)
_ONE = text(_SERVERS + " WHERE v.id = :vps")
_ALL = text(_SERVERS + " WHERE v.status <> 'deleted' AND v.id > :after ORDER BY v.id LIMIT :most")
_BEFORE_ALL = uuid.UUID(int=0)
# Either state as its partial index has it (idx_messages_waiting, idx_messages_leased): IN would read all messages.
_SENDS = text(
    "SELECT vps_id, count(*) FILTER (WHERE state = 'accepted') AS waiting,"
    " count(*) FILTER (WHERE state = 'queued') AS queued"
    " FROM messages WHERE (state = 'accepted' OR state = 'queued') AND vps_id = ANY(:servers) GROUP BY vps_id"
)


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """One server as it was last heard of."""

    vps_id: uuid.UUID
    tenant_id: uuid.UUID
    hostname: str
    status: str
    mail_server_status: str
    agent_version: str | None
    desired_version: int
    applied_version: int
    #: Whether it holds a link and was heard of within `SILENCE`.
    reachable: bool
    last_seen_at: datetime | None
    #: The server's clock less ours in milliseconds, and when it was last measured.
    clock_offset_ms: int | None
    clock_measured_at: datetime | None
    #: By the server's clock, and by ours.
    reported_at: datetime | None
    received_at: datetime | None
    report: HealthReport | None

    @property
    def postfix_queue(self) -> int | None:
        """Messages in Postfix's queue, or None when it did not say."""
        if self.report is None or not self.report.HasField("postfix_queue"):
            return None
        queue = self.report.postfix_queue
        return queue.incoming + queue.active + queue.deferred + queue.hold

    def report_fields(self) -> dict[str, Any] | None:
        """Return the report as plain values under the protocol's field names; 64-bit numbers are strings."""
        if self.report is None:
            return None
        return MessageToDict(self.report, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


@dataclass(frozen=True, slots=True)
class FleetServer:
    """One line of the fleet's list."""

    health: ServerHealth
    #: Sends in PostgreSQL that are not leased yet, and those leased and not yet handed to Postfix.
    waiting: int
    queued: int


async def server_health(session: AsyncSession, vps_id: uuid.UUID, now: datetime | None = None) -> ServerHealth | None:
    """Return one server's health, or None when the session sees no such server."""
    row = (await session.execute(_ONE, {"vps": vps_id})).one_or_none()
    return _health(row, now or utc_now()) if row else None


async def fleet_overview(
    session: AsyncSession, after: uuid.UUID | None = None, limit: int | None = None, now: datetime | None = None
) -> Sequence[FleetServer]:
    """Return a page of the servers that the session sees and that are not deleted, by id; without a limit, of all."""
    servers = (await session.execute(_ALL, {"after": after or _BEFORE_ALL, "most": limit})).all()
    counted = await session.execute(_SENDS, {"servers": [row.id for row in servers]})
    sends = {vps_id: (waiting, queued) for vps_id, waiting, queued in counted}
    return [FleetServer(_health(row, now or utc_now()), *sends.get(row.id, (0, 0))) for row in servers]


def is_reachable(link_session: uuid.UUID | None, last_seen_at: datetime | None, now: datetime) -> bool:
    """Whether the server holds a link and was heard of lately."""
    return link_session is not None and last_seen_at is not None and now - last_seen_at <= SILENCE


def _health(row: Row[Any], now: datetime) -> ServerHealth:
    return ServerHealth(
        vps_id=row.id,
        tenant_id=row.tenant_id,
        hostname=row.hostname,
        status=row.status,
        mail_server_status=row.mail_server_status,
        agent_version=row.agent_version,
        desired_version=row.desired_version,
        applied_version=row.applied_version,
        reachable=is_reachable(row.link_session, row.last_seen_at, now),
        last_seen_at=row.last_seen_at,
        clock_offset_ms=row.clock_offset_ms,
        clock_measured_at=row.clock_measured_at,
        reported_at=row.reported_at,
        received_at=row.received_at,
        report=parse_report(row.report) if row.report else None,
    )
