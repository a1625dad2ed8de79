"""Servers, their last reports, and what lets their agents in."""

import datetime as dt
import decimal
import ipaddress
import uuid
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


def _of_server() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"
    )


class VpsServer(Base):
    """A mail server of a workspace, from the request for it to its removal."""

    __tablename__ = "vps_servers"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "workspace_id"], ["workspaces.tenant_id", "workspaces.id"]),
        Index("idx_vps_servers_workspace", "tenant_id", "workspace_id"),
        Index(
            "idx_vps_servers_acme_challenges",
            "id",
            postgresql_where=text("acme_challenges IS NOT NULL"),
        ),
        Index(
            "idx_vps_servers_acme_port",
            "acme_port_open_until",
            postgresql_where=text("acme_port_open_until IS NOT NULL"),
        ),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    workspace_id: Mapped[uuid.UUID]
    provider: Mapped[str] = mapped_column(String(50))
    provider_server_id: Mapped[str | None] = mapped_column(String(255))
    ip_address: Mapped[ipaddress.IPv4Address | ipaddress.IPv6Address | None] = mapped_column(INET)
    ipv6_address: Mapped[ipaddress.IPv6Address | None] = mapped_column(INET)
    #: Since when mail goes out by that; None while it does not.
    ipv6_sending_since: Mapped[dt.datetime | None]
    hostname: Mapped[str] = mapped_column(String(255), unique=True)
    size: Mapped[str] = mapped_column(String(50))
    region: Mapped[str] = mapped_column(String(100))
    specs: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(String(50), server_default=text("'provisioning'"))
    status_reason: Mapped[str | None] = mapped_column(Text)
    mail_server_status: Mapped[str] = mapped_column(String(50), server_default=text("'not_configured'"))
    ssl_certificate_expires: Mapped[dt.datetime | None]
    monitoring_enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    monthly_cost: Mapped[decimal.Decimal | None] = mapped_column(Numeric(10, 2))
    desired_version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    applied_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    applied_at: Mapped[dt.datetime | None]
    applied_detail: Mapped[str | None] = mapped_column(Text)
    probe_password_sealed: Mapped[bytes] = mapped_column(deferred=True)
    agent_version: Mapped[str | None] = mapped_column(String(100))
    last_seen_at: Mapped[dt.datetime | None]
    link_session: Mapped[uuid.UUID | None]
    banned_at: Mapped[dt.datetime | None]
    clock_offset_ms: Mapped[int | None] = mapped_column(BigInteger)
    clock_measured_at: Mapped[dt.datetime | None]
    draining_since: Mapped[dt.datetime | None]
    #: Its inboxes' daily limits are divided by it.
    send_divisor: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    removal_requested_at: Mapped[dt.datetime | None]
    removal_forced: Mapped[bool] = mapped_column(server_default=text("false"))
    drift_policy: Mapped[str] = mapped_column(Text, server_default=text("'mend'"))
    acme_port_open_until: Mapped[dt.datetime | None] = mapped_column(deferred=True)
    #: See provisioning/acme_challenges.py.
    acme_challenges: Mapped[list[dict[str, str | None]] | None] = mapped_column(JSONB, deferred=True)
    acme_challenges_told_at: Mapped[dt.datetime | None] = mapped_column(deferred=True)
    #: See control_plane/fleet/configurations.py.
    trial_configuration: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("fleet_configurations.number"), deferred=True
    )
    #: The desired version whose outcome `mail_server_status` tells.
    settled_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"), deferred=True)
    #: Daemons that it needs and that do not run, as it said last (fleet/units.py).
    stopped_units: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"), deferred=True)
    disk_nearly_full: Mapped[bool] = mapped_column(server_default=text("false"), deferred=True)
    #: When two held a link with its certificate at the same time.
    cloned_at: Mapped[dt.datetime | None] = mapped_column(deferred=True)
    created_at: Mapped[CreatedAt]


class VpsReport(Base):
    """The last health report of a server."""

    __tablename__ = "vps_reports"
    __table_args__ = (_of_server(),)

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    reported_at: Mapped[dt.datetime]
    received_at: Mapped[CreatedAt]
    report: Mapped[dict[str, Any]]


class ServerCommand(Base):
    """Something that was asked of a server's agent, and what came of it."""

    __tablename__ = "server_commands"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        _of_server(),
        Index(
            "idx_server_commands_open", "vps_id", "created_at", postgresql_where=text("state IN ('waiting', 'sent')")
        ),
        Index("idx_server_commands_vps", "tenant_id", "vps_id", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    vps_id: Mapped[uuid.UUID]
    kind: Mapped[str] = mapped_column(Text)
    command: Mapped[bytes]
    requested_by: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=text("'waiting'"))
    detail: Mapped[str | None] = mapped_column(Text)
    output: Mapped[str | None] = mapped_column(Text, deferred=True)
    truncated: Mapped[bool] = mapped_column(server_default=text("false"))
    next: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    deadline: Mapped[dt.datetime]
    sent_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]


class JoinToken(Base):
    """A token that lets one server enrol once; kept as a hash, deleted when it is used."""

    __tablename__ = "join_tokens"
    __table_args__ = (_of_server(),)

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    vps_id: Mapped[uuid.UUID]
    expires_at: Mapped[dt.datetime]
    created_at: Mapped[CreatedAt]


class AgentCertificate(Base):
    """A certificate that was issued to a server's agent."""

    __tablename__ = "agent_certificates"
    __table_args__ = (_of_server(),)

    serial: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[TenantId]
    vps_id: Mapped[uuid.UUID]
    not_after: Mapped[dt.datetime]
    issued_at: Mapped[CreatedAt]
    revoked_at: Mapped[dt.datetime | None]


class CertificateAuthority(Base):
    """The platform's own authority for agents and for the doors they use; no tenant's data."""

    __tablename__ = "certificate_authorities"

    id: Mapped[RowId]
    certificate_pem: Mapped[str] = mapped_column(Text)
    private_key_sealed: Mapped[bytes] = mapped_column(deferred=True)
    created_at: Mapped[CreatedAt]


class ServerRebuild(Base):
    """A rebuild of a server, by the id of its run; `key_sealed` is gone when the copy of its mail is."""

    __tablename__ = "server_rebuilds"
    __table_args__ = (UniqueConstraint("tenant_id", "id"), UniqueConstraint("vps_id", "generation"), _of_server())

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    vps_id: Mapped[uuid.UUID]
    generation: Mapped[int]
    drained_before: Mapped[bool]
    key_sealed: Mapped[bytes | None] = mapped_column(deferred=True)
    packed: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    packed_at: Mapped[dt.datetime | None]
    holds_configuration: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[dt.datetime | None]


class MailBlock(Base):
    """A piece of a server's mail while the server is rebuilt, sealed with the rebuild's key."""

    __tablename__ = "mail_blocks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "rebuild_id"], ["server_rebuilds.tenant_id", "server_rebuilds.id"], ondelete="CASCADE"
        ),
    )

    rebuild_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    sealed: Mapped[bytes] = mapped_column(deferred=True)
