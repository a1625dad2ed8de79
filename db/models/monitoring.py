"""How servers are, over time; what was checked of them, and alerts.

The partitions of the first three (`…_slot_…`) have no models: nothing reaches them but through these.
"""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import ARRAY, Double, ForeignKey, ForeignKeyConstraint, Index, Integer, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, TenantId


def _of_server() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"
    )


class HealthReportRow(Base):
    """The values of one report."""

    __tablename__ = "health_reports"
    __table_args__ = (_of_server(), Index("idx_health_reports_at", "at", "received_at", postgresql_using="brin"))

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    reported_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    at: Mapped[dt.datetime]
    received_at: Mapped[CreatedAt]
    measured: Mapped[list[float]] = mapped_column(ARRAY(Double))


class HealthSample(Base):
    """Five minutes of a server."""

    __tablename__ = "health_samples"
    __table_args__ = (_of_server(), Index("idx_health_samples_at", "at", postgresql_using="brin"))

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    measured: Mapped[list[float]] = mapped_column(ARRAY(Double))


class HealthHour(Base):
    """An hour of a server."""

    __tablename__ = "health_hours"
    __table_args__ = (_of_server(),)

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    tenant_id: Mapped[uuid.UUID]
    measured: Mapped[list[float]] = mapped_column(ARRAY(Double))


class ServerHealthRow(Base):
    """The newest of a server."""

    __tablename__ = "server_health"
    __table_args__ = (_of_server(), Index("idx_server_health_tenant", "tenant_id", "state"))

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    checked_at: Mapped[dt.datetime]
    state: Mapped[str] = mapped_column(Text)
    metrics: Mapped[dict[str, Any]]
    agent_version: Mapped[str | None] = mapped_column(Text)
    agent_version_since: Mapped[dt.datetime]
    shut_ports: Mapped[list[int]] = mapped_column(ARRAY(Integer), server_default=text("'{}'"))


class HealthCheck(Base):
    """The newest result of one check of a server."""

    __tablename__ = "health_checks"
    __table_args__ = (
        _of_server(),
        Index("idx_health_checks_bad", "kind", "state", postgresql_where=text("state <> 'ok'")),
        Index("idx_health_checks_not_well", "vps_id", postgresql_where=text("state <> 'ok'")),
    )

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[TenantId]
    state: Mapped[str] = mapped_column(Text)
    value: Mapped[float | None] = mapped_column(Double)
    sentence: Mapped[str] = mapped_column(Text)
    at: Mapped[dt.datetime]
    changed_at: Mapped[dt.datetime]


class Hub(Base):
    """A hub that listens to servers, or did (control_plane/fleet/hearing.py)."""

    __tablename__ = "hubs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    hearing_since: Mapped[dt.datetime]
    seen_at: Mapped[dt.datetime]


class Alert(Base):
    """Something about a server, or about the installation itself, that somebody should know."""

    __tablename__ = "alerts"
    __table_args__ = (
        _of_server(),
        Index(
            "idx_alerts_one",
            "vps_id",
            "rule",
            unique=True,
            postgresql_where=text("state <> 'resolved'"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("idx_alerts_newest", "since"),
        Index("idx_alerts_group", "group_id", postgresql_where=text("group_id IS NOT NULL")),
        Index("idx_alerts_over", "resolved_at", postgresql_where=text("resolved_at IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId | None]
    #: Without one it is about the installation itself, and of no tenant.
    vps_id: Mapped[uuid.UUID | None]
    rule: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    sentence: Mapped[str] = mapped_column(Text)
    since: Mapped[dt.datetime]
    opened_at: Mapped[dt.datetime | None]
    well_since: Mapped[dt.datetime | None]
    #: The outage that it is a part of.
    group_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("alert_groups.id"))
    acknowledged_by: Mapped[str | None] = mapped_column(Text)
    acknowledged_at: Mapped[dt.datetime | None]
    resolved_at: Mapped[dt.datetime | None]
