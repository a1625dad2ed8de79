"""Tenants, their workspaces, and the keys that let a program act for a tenant."""

import datetime as dt
import ipaddress
import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, CIDR
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


class Tenant(Base):
    """A customer: everything else belongs to one."""

    __tablename__ = "tenants"

    id: Mapped[RowId]
    name: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(50), server_default=text("'active'"))
    created_at: Mapped[CreatedAt]
    plan: Mapped[str] = mapped_column(ForeignKey("plans.name"), server_default=text("'unlimited'"))
    plan_overrides: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    erased_at: Mapped[dt.datetime | None]
    #: Whether new sends go into partitions of its own.
    isolated: Mapped[bool] = mapped_column(server_default=text("false"))
    audit_position: Mapped[int | None] = mapped_column(BigInteger)
    audit_hash: Mapped[bytes | None]


class Plan(Base):
    """What tenants of a plan may have; None for as many as they like."""

    __tablename__ = "plans"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    servers: Mapped[int | None]
    domains: Mapped[int | None]
    inboxes: Mapped[int | None]
    api_keys: Mapped[int | None]
    webhooks: Mapped[int | None]
    sends_a_day: Mapped[int | None]


class Workspace(Base):
    """A part of a tenant that has its own servers and inboxes."""

    __tablename__ = "workspaces"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[CreatedAt]
    deleted_at: Mapped[dt.datetime | None]


class ApiKeyRow(Base):
    """An API key, by its hash (control_plane/identity/api_keys.py)."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("tenant_id", "prefix"),)

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    name: Mapped[str] = mapped_column(String(255))
    prefix: Mapped[str] = mapped_column(String(32))
    secret_sha256: Mapped[bytes] = mapped_column(deferred=True)
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    networks: Mapped[list[ipaddress.IPv4Network | ipaddress.IPv6Network]] = mapped_column(
        ARRAY(CIDR), server_default=text("'{}'")
    )
    created_by: Mapped[str] = mapped_column(Text, server_default=text("'operator'"))
    created_at: Mapped[CreatedAt]
    last_used_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]
    #: What it is for; None for the whole tenant.
    workspaces: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid))
