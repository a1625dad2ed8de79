"""Sends, what became of them, and what limits them."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import (
    ARRAY,
    Computed,
    Date,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, TenantId


class Message(Base):
    """One send: one message to one recipient; `resend_of` is the uncertain one that it sends again.

    Those with `isolated` lie in a partition of their tenant's own (control_plane/tenancy/isolation.py), and so do their
    events.
    """

    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "workspace_id"], ["workspaces.tenant_id", "workspaces.id"]),
        ForeignKeyConstraint(["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"]),
        ForeignKeyConstraint(
            ["tenant_id", "inbox_id"], ["inboxes.tenant_id", "inboxes.id"], ondelete="SET NULL (inbox_id)"
        ),
        Index(
            "idx_messages_waiting",
            "vps_id",
            "priority",
            "inbox_id",
            "send_at",
            "id",
            postgresql_where=text("state = 'accepted'"),
        ),
        Index("idx_messages_leased", "vps_id", "lease_deadline", postgresql_where=text("state = 'queued'")),
        Index("idx_messages_inbox", "tenant_id", "inbox_id", "id"),
        Index("idx_messages_workspace", "tenant_id", "workspace_id", "id"),
        Index("idx_messages_recipient", "tenant_id", "recipient_folded", "id"),
        Index(
            "idx_messages_not_delivered",
            "tenant_id",
            "state",
            "id",
            postgresql_where=text(
                "state IN ('bounced', 'expired', 'failed', 'cancelled', 'suppressed', 'uncertain', 'dead')"
            ),
        ),
        ForeignKeyConstraint(
            ["tenant_id", "resend_of", "isolated"],
            ["messages.tenant_id", "messages.id", "messages.isolated"],
            onupdate="CASCADE",
            ondelete="SET NULL (resend_of)",
        ),
        Index(
            "idx_messages_resend_of",
            "tenant_id",
            "resend_of",
            "isolated",
            unique=True,
            postgresql_where=text("resend_of IS NOT NULL"),
        ),
        Index(
            "idx_messages_payloads",
            "final_at",
            postgresql_where=text("final_at IS NOT NULL AND octet_length(payload) > 0"),
        ),
        Index("idx_messages_dead", "vps_id", "id", postgresql_where=text("state = 'dead'")),
        Index("idx_messages_relayed", "vps_id", "relayed_at", postgresql_where=text("state = 'relayed'")),
        Index(
            "idx_messages_silent",
            "silent_since",
            postgresql_where=text("silent_since IS NOT NULL AND state IN ('accepted', 'dead')"),
        ),
        Index(
            "idx_messages_leased_large",
            "vps_id",
            "priority",
            postgresql_where=text("state = 'queued' AND octet_length(payload) > 65536"),
        ),
    )

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    isolated: Mapped[bool] = mapped_column(primary_key=True, server_default=text("false"))
    workspace_id: Mapped[uuid.UUID]
    inbox_id: Mapped[uuid.UUID | None]
    vps_id: Mapped[uuid.UUID]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    state: Mapped[str] = mapped_column(String(20), server_default=text("'accepted'"))
    state_reason: Mapped[str | None] = mapped_column(Text)
    envelope_sender: Mapped[str] = mapped_column(String(320))
    recipient: Mapped[str] = mapped_column(String(320))
    signing_domain: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(Text)
    payload: Mapped[bytes] = mapped_column(deferred=True)
    send_at: Mapped[dt.datetime]
    lease_token: Mapped[uuid.UUID | None] = mapped_column(deferred=True)
    lease_deadline: Mapped[dt.datetime | None] = mapped_column(deferred=True)
    leases: Mapped[int] = mapped_column(server_default=text("0"))
    silent_leases: Mapped[int] = mapped_column(server_default=text("0"), deferred=True)
    silent_since: Mapped[dt.datetime | None] = mapped_column(deferred=True)
    queue_id: Mapped[str | None] = mapped_column(String(64))
    accepted_at: Mapped[CreatedAt]
    queued_at: Mapped[dt.datetime | None]
    relayed_at: Mapped[dt.datetime | None]
    final_at: Mapped[dt.datetime | None]
    resend_of: Mapped[uuid.UUID | None]
    #: By what recipients are searched: in lower case.
    recipient_folded: Mapped[str] = mapped_column(Text, Computed("lower(recipient)", persisted=True), deferred=True)


class MessageEvent(Base):
    """Something that happened to a send; one that came too late is kept and was not applied."""

    __tablename__ = "message_events"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "message_id", "isolated"],
            ["messages.tenant_id", "messages.id", "messages.isolated"],
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
    )

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    message_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    isolated: Mapped[bool] = mapped_column(primary_key=True, server_default=text("false"))
    kind: Mapped[str] = mapped_column(String(20))
    at: Mapped[dt.datetime]
    recorded_at: Mapped[CreatedAt]
    lease_token: Mapped[uuid.UUID | None] = mapped_column(deferred=True)
    applied: Mapped[bool]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class IdempotencyKey(Base):
    """A key that a client chose for a request, and the send that the request made, or a batch's whole answer.

    `message_ids` has one for each message of the batch, None where `problems` says, under its place, why there is none.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idx_idempotency_keys_age", "created_at"),)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    within: Mapped[str] = mapped_column(Text, primary_key=True, server_default=text("''"))
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[bytes]
    message_id: Mapped[uuid.UUID | None]
    message_ids: Mapped[list[uuid.UUID | None] | None] = mapped_column(ARRAY(Uuid))
    problems: Mapped[dict[str, Any] | None]
    created_at: Mapped[CreatedAt]


class Suppression(Base):
    """An address that a tenant's mail is not sent to: in lower case, or its keyed hash once it was erased.

    One with `removed_at` is out of force.
    """

    __tablename__ = "suppressions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        Index("idx_suppressions_removed", "removed_at", postgresql_where=text("removed_at IS NOT NULL")),
    )

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(String(320), primary_key=True)
    reason: Mapped[str] = mapped_column(String(50))
    created_at: Mapped[CreatedAt]
    id: Mapped[uuid.UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    source: Mapped[str] = mapped_column(String(20), server_default=text("'api'"))
    removed_at: Mapped[dt.datetime | None]


class SuppressionKey(Base):
    """The key of a tenant's hashes of erased addresses, as HMAC-SHA256's two blocks (RFC 2104)."""

    __tablename__ = "suppression_keys"

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    inner_block: Mapped[bytes] = mapped_column(deferred=True)
    outer_block: Mapped[bytes] = mapped_column(deferred=True)
    created_at: Mapped[CreatedAt]


class InboxDailySends(Base):
    """How many sends of an inbox were claimed on a day (UTC)."""

    __tablename__ = "inbox_daily_sends"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "inbox_id"], ["inboxes.tenant_id", "inboxes.id"], ondelete="CASCADE"),
        Index("idx_inbox_daily_sends_day", "tenant_id", "day"),
    )

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    inbox_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    claimed: Mapped[int] = mapped_column(server_default=text("0"))
