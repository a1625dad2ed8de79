"""Who is told of alerts, when not, and what is on its way to them."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId


class AlertGroup(Base):
    """Many dead servers of one provider in one region."""

    __tablename__ = "alert_groups"
    __table_args__ = (
        Index("idx_alert_groups_one", "provider", "region", unique=True, postgresql_where=text("resolved_at IS NULL")),
    )

    id: Mapped[RowId]
    provider: Mapped[str] = mapped_column(Text)
    region: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[dt.datetime]
    resolved_at: Mapped[dt.datetime | None]


class AlertSilence(Base):
    """Nobody is told of what matches all that is named here, until it is over."""

    __tablename__ = "alert_silences"

    id: Mapped[RowId]
    of_tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    of_vps_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("vps_servers.id", ondelete="CASCADE"))
    rule: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    until: Mapped[dt.datetime]


class AlertChannel(Base):
    """A way to tell somebody."""

    __tablename__ = "alert_channels"

    id: Mapped[RowId]
    name: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[str] = mapped_column(Text)
    target_sealed: Mapped[bytes] = mapped_column(deferred=True)
    least_severity: Mapped[str] = mapped_column(Text)
    after_minutes: Mapped[int]
    created_at: Mapped[CreatedAt]


class AlertNotice(Base):
    """One thing to tell one channel."""

    __tablename__ = "alert_notices"
    __table_args__ = (
        UniqueConstraint("channel_id", "fingerprint"),
        Index("idx_alert_notices_due", "due_at", postgresql_where=text("state = 'waiting'")),
        Index("idx_alert_notices_alert", "alert_id", postgresql_where=text("alert_id IS NOT NULL")),
        Index("idx_alert_notices_group", "group_id", postgresql_where=text("group_id IS NOT NULL")),
    )

    id: Mapped[RowId]
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    channel_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("alert_channels.id", ondelete="CASCADE"))
    fingerprint: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    alert_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"))
    group_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("alert_groups.id", ondelete="CASCADE"))
    body: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(Text, server_default=text("'waiting'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[CreatedAt]
    claim_token: Mapped[uuid.UUID | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[dt.datetime | None]
