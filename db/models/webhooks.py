"""Events that tenants are told of, their endpoints, and what is delivered to them."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKeyConstraint, Identity, Index, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId

_WAITING = text("state = 'waiting'")


class WebhookEndpoint(Base):
    """A URL of a tenant's that is told of events; secrets are sealed."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(
            ["tenant_id", "workspace_id"], ["workspaces.tenant_id", "workspaces.id"], ondelete="CASCADE"
        ),
        Index("idx_webhook_endpoints_told", "tenant_id", postgresql_where=text("deleted_at IS NULL")),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    workspace_id: Mapped[uuid.UUID | None]
    url: Mapped[str] = mapped_column(Text)
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    secret_sealed: Mapped[bytes] = mapped_column(deferred=True)
    previous_secret_sealed: Mapped[bytes | None] = mapped_column(deferred=True)
    previous_secret_until: Mapped[dt.datetime | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    failing_since: Mapped[dt.datetime | None]
    created_at: Mapped[CreatedAt]
    deleted_at: Mapped[dt.datetime | None]


class TenantEvent(Base):
    """Something that happened to what a tenant has."""

    __tablename__ = "tenant_events"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        Index("idx_tenant_events_newest", "tenant_id", "position"),
        Index("idx_tenant_events_oldest", "recorded_at"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    type: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[uuid.UUID]
    workspace_id: Mapped[uuid.UUID | None]
    at: Mapped[dt.datetime]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    recorded_at: Mapped[CreatedAt]


class WebhookDelivery(Base):
    """One event on its way to one endpoint."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id"),
        ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"], ["webhook_endpoints.tenant_id", "webhook_endpoints.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "event_id"], ["tenant_events.tenant_id", "tenant_events.id"], ondelete="CASCADE"
        ),
        Index("idx_webhook_deliveries_due", "endpoint_id", "due_at", postgresql_where=_WAITING),
        Index("idx_webhook_deliveries_waiting", "endpoint_id", "subject_id", "position", postgresql_where=_WAITING),
        Index("idx_webhook_deliveries_tried", "endpoint_id", postgresql_where=text("claim_token IS NOT NULL")),
        Index("idx_webhook_deliveries_newest", "tenant_id", "endpoint_id", "position"),
        Index("idx_webhook_deliveries_event", "tenant_id", "event_id"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    endpoint_id: Mapped[uuid.UUID]
    event_id: Mapped[uuid.UUID]
    position: Mapped[int] = mapped_column(BigInteger)
    subject_id: Mapped[uuid.UUID]
    state: Mapped[str] = mapped_column(String(20), server_default=text("'waiting'"))
    waiting_since: Mapped[CreatedAt]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[CreatedAt]
    claim_token: Mapped[uuid.UUID | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    last_attempt_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    created_at: Mapped[CreatedAt]
