"""Releases of the agent, settings of the fleet, plans to bring something to servers, and how each of these stands."""

import datetime as dt
import uuid

from sqlalchemy import (
    ARRAY,
    CHAR,
    BigInteger,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


class Release(Base):
    """A signed release."""

    __tablename__ = "releases"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    version: Mapped[str] = mapped_column(String(100))
    manifest: Mapped[bytes] = mapped_column(deferred=True)
    manifest_sha256: Mapped[str] = mapped_column(CHAR(64))
    signature: Mapped[bytes]
    certificate: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(20), server_default=text("'offered'"))
    created_at: Mapped[CreatedAt]


class FleetConfiguration(Base):
    """What is set for the whole fleet, once it was proven."""

    __tablename__ = "fleet_configurations"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    settings: Mapped[dict[str, str]] = mapped_column(JSONB)
    base: Mapped[int | None] = mapped_column(ForeignKey("fleet_configurations.number"))
    created_at: Mapped[CreatedAt]
    proven_at: Mapped[dt.datetime | None]


class Upgrade(Base):
    """A plan."""

    __tablename__ = "upgrades"
    __table_args__ = (
        Index(
            "idx_upgrades_one",
            text("(true)"),
            unique=True,
            postgresql_where=text("state IN ('running', 'rolling_back')"),
        ),
    )

    id: Mapped[RowId]
    #: One of the three.
    release: Mapped[str | None] = mapped_column(String(100), ForeignKey("releases.name"))
    configuration: Mapped[int | None] = mapped_column(ForeignKey("fleet_configurations.number"))
    #: Names of packages with the versions that each may be brought to.
    packages: Mapped[dict[str, list[str]] | None] = mapped_column(JSONB(none_as_null=True))
    state: Mapped[str] = mapped_column(String(20), server_default=text("'planned'"))
    ring: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    rings: Mapped[int] = mapped_column(SmallInteger)
    ring_since: Mapped[dt.datetime | None]
    minimum_sends: Mapped[int]
    soak_seconds: Mapped[float] = mapped_column(Double)
    patience_seconds: Mapped[float] = mapped_column(Double)
    reason: Mapped[str | None] = mapped_column(Text)
    requested_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[dt.datetime | None]


class UpgradeServer(Base):
    """A server of a plan."""

    __tablename__ = "upgrade_servers"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"),
        Index("idx_upgrade_servers_vps", "vps_id"),
    )

    upgrade_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("upgrades.id", ondelete="CASCADE"), primary_key=True)
    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    ring: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(String(20), server_default=text("'waiting'"))
    reason: Mapped[str | None] = mapped_column(Text)
    since: Mapped[CreatedAt]
    asked_at: Mapped[dt.datetime | None]
    told_at: Mapped[dt.datetime | None]
    past_delivered: Mapped[float] = mapped_column(Double, server_default=text("0"))
    past_deferred: Mapped[float] = mapped_column(Double, server_default=text("0"))
    past_bounced: Mapped[float] = mapped_column(Double, server_default=text("0"))
    past_handed_over: Mapped[float] = mapped_column(Double, server_default=text("0"))
    past_hand_over_refused: Mapped[float] = mapped_column(Double, server_default=text("0"))
    past_rss_bytes: Mapped[float] = mapped_column(Double, server_default=text("0"))
    past_restarts: Mapped[float] = mapped_column(Double, server_default=text("0"))
    failing_before: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    asked_version: Mapped[int | None] = mapped_column(BigInteger)
