"""Sending domains, their DKIM keys, the inboxes in them, and the DNS records these depend on."""

import datetime as dt
import decimal
import uuid
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Index, Numeric, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


class Domain(Base):
    """A domain that one tenant sends from; lower case, A-labels, no trailing dot."""

    __tablename__ = "domains"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        Index("idx_domains_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
        ForeignKeyConstraint(["tenant_id", "workspace_id"], ["workspaces.tenant_id", "workspaces.id"]),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[CreatedAt]
    #: From then on it is nobody's; the worker deletes it.
    deleted_at: Mapped[dt.datetime | None]
    #: That of its inboxes, which share a server; None before there was one.
    workspace_id: Mapped[uuid.UUID | None]
    #: Whether it stays when its last inbox goes.
    kept: Mapped[bool] = mapped_column(server_default=text("false"))
    #: See dns/extras.py.
    tls_reports_to: Mapped[str | None] = mapped_column(String(254))
    client_records: Mapped[bool] = mapped_column(server_default=text("false"))
    #: See dns/client_settings.py.
    client_settings: Mapped[bool] = mapped_column(server_default=text("false"))
    #: See dns/mta_sts.py, and provisioning/policy_looks.py for what was seen of it.
    mta_sts: Mapped[str] = mapped_column(String(10), server_default=text("'none'"))
    mta_sts_seen: Mapped[str | None] = mapped_column(String(32))
    mta_sts_looked_at: Mapped[dt.datetime | None]
    mta_sts_detail: Mapped[str | None] = mapped_column(Text)


class DkimKeyRow(Base):
    """A DKIM key pair; the private half is sealed."""

    __tablename__ = "dkim_keys"
    __table_args__ = (
        UniqueConstraint("domain_id", "selector"),
        ForeignKeyConstraint(["tenant_id", "domain_id"], ["domains.tenant_id", "domains.id"], ondelete="CASCADE"),
        Index("idx_dkim_keys_one_active", "domain_id", unique=True, postgresql_where=text("active")),
        Index("idx_dkim_keys_one_next", "domain_id", unique=True, postgresql_where=text("state = 'next'")),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    domain_id: Mapped[uuid.UUID]
    selector: Mapped[str] = mapped_column(String(63))
    private_key_sealed: Mapped[bytes] = mapped_column(deferred=True)
    public_key: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    state: Mapped[str] = mapped_column(String(20), server_default=text("'active'"))
    activated_at: Mapped[CreatedAt]
    retired_at: Mapped[dt.datetime | None]
    created_at: Mapped[CreatedAt]


class DnsPublisher(Base):
    """Which DNS host a domain is at; the credentials are sealed."""

    __tablename__ = "dns_publishers"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "domain_id"], ["domains.tenant_id", "domains.id"], ondelete="CASCADE"),
    )

    domain_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    kind: Mapped[str] = mapped_column(String(20))
    options: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    credentials_sealed: Mapped[bytes | None] = mapped_column(deferred=True)
    updated_at: Mapped[CreatedAt]


class Inbox(Base):
    """An address that sends and receives."""

    __tablename__ = "inboxes"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "workspace_id"], ["workspaces.tenant_id", "workspaces.id"]),
        ForeignKeyConstraint(["tenant_id", "domain_id"], ["domains.tenant_id", "domains.id"]),
        ForeignKeyConstraint(["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"]),
        Index("idx_inboxes_tenant", "tenant_id"),
        Index("idx_inboxes_workspace", "workspace_id"),
        Index("idx_inboxes_status", "status"),
        Index("idx_inboxes_vps", "vps_id"),
        Index("idx_inboxes_domain", "domain_id"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    workspace_id: Mapped[uuid.UUID]
    domain_id: Mapped[uuid.UUID]
    email_address: Mapped[str] = mapped_column(String(255), unique=True)
    display_name: Mapped[str | None] = mapped_column(String(255))
    vps_id: Mapped[uuid.UUID | None]
    smtp_config: Mapped[dict[str, Any] | None]
    imap_config: Mapped[dict[str, Any] | None]
    password_hash: Mapped[str] = mapped_column(Text, deferred=True)
    warmup_enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    warmup_status: Mapped[str] = mapped_column(String(50), server_default=text("'not_started'"))
    daily_send_limit: Mapped[int] = mapped_column(server_default=text("50"))
    #: Of 1,048,576 octets each; None for as much as its server holds.
    quota_mb: Mapped[int | None]
    reputation_score: Mapped[decimal.Decimal] = mapped_column(Numeric(3, 2), server_default=text("0.00"))
    status: Mapped[str] = mapped_column(String(50), server_default=text("'pending_setup'"))
    status_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class InboxAlias(Base):
    """A further address of an inbox. One with `removed_at` leads nowhere."""

    __tablename__ = "inbox_aliases"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "inbox_id"], ["inboxes.tenant_id", "inboxes.id"], ondelete="CASCADE"),
        Index("idx_inbox_aliases_inbox", "tenant_id", "inbox_id"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    inbox_id: Mapped[uuid.UUID]
    email_address: Mapped[str] = mapped_column(String(255), unique=True)
    created_at: Mapped[CreatedAt]
    removed_at: Mapped[dt.datetime | None]


class DnsRecordRow(Base):
    """One DNS record that an inbox depends on, and what verification found."""

    __tablename__ = "dns_records"
    __table_args__ = (
        UniqueConstraint("inbox_id", "domain", "record_type", "record_name", "record_value"),
        ForeignKeyConstraint(["tenant_id", "inbox_id"], ["inboxes.tenant_id", "inboxes.id"], ondelete="CASCADE"),
        Index("idx_dns_inbox", "inbox_id"),
        Index("idx_dns_domain", "domain"),
        Index("idx_dns_pending", "inbox_id", postgresql_where=text("verification_status <> 'verified'")),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    inbox_id: Mapped[uuid.UUID]
    domain: Mapped[str] = mapped_column(String(255))
    record_type: Mapped[str] = mapped_column(String(10))
    record_name: Mapped[str] = mapped_column(String(255))
    record_value: Mapped[str] = mapped_column(Text)
    ttl: Mapped[int] = mapped_column(server_default=text("3600"))
    verification_status: Mapped[str] = mapped_column(String(50), server_default=text("'pending'"))
    verification_detail: Mapped[str | None] = mapped_column(Text)
    problem: Mapped[str | None] = mapped_column(String(50))
    replaced_value: Mapped[str | None] = mapped_column(Text)
    blended_value: Mapped[str | None] = mapped_column(Text)
    applied_at: Mapped[dt.datetime | None]
    last_good_at: Mapped[dt.datetime | None]
    last_verified_at: Mapped[dt.datetime | None]
    published_at: Mapped[dt.datetime | None]
    created_at: Mapped[CreatedAt]
