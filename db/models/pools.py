"""Further addresses of servers, pools of them, who sends by which, and what became of what they sent."""

import datetime as dt
import ipaddress
import uuid

from sqlalchemy import Date, ForeignKeyConstraint, Index, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


def _of_address() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "address_id"], ["server_addresses.tenant_id", "server_addresses.id"], ondelete="CASCADE"
    )


def _of_inbox() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["tenant_id", "inbox_id"], ["inboxes.tenant_id", "inboxes.id"], ondelete="CASCADE")


class ServerAddress(Base):
    """One more address of a server, from the request for it until it is given back."""

    __tablename__ = "server_addresses"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("vps_id", "label"),
        ForeignKeyConstraint(["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    vps_id: Mapped[uuid.UUID]
    label: Mapped[str] = mapped_column(String(20))
    address: Mapped[ipaddress.IPv4Address | None] = mapped_column(INET)
    hostname: Mapped[str] = mapped_column(String(255), unique=True)
    state: Mapped[str] = mapped_column(String(20), server_default=text("'requested'"))
    state_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]


class IpPool(Base):
    """A named set of addresses of a workspace's servers."""

    __tablename__ = "ip_pools"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "workspace_id"], ["workspaces.tenant_id", "workspaces.id"]),
        Index("idx_ip_pools_name", "workspace_id", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("idx_ip_pools_one_default", "workspace_id", unique=True, postgresql_where=text("is_default")),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    workspace_id: Mapped[uuid.UUID]
    name: Mapped[str] = mapped_column(String(100))
    is_default: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[CreatedAt]
    deleted_at: Mapped[dt.datetime | None]


class IpPoolAddress(Base):
    """An address that is in a pool, or was."""

    __tablename__ = "ip_pool_addresses"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "pool_id"], ["ip_pools.tenant_id", "ip_pools.id"], ondelete="CASCADE"),
        _of_address(),
    )

    tenant_id: Mapped[TenantId]
    pool_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    address_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    left_at: Mapped[dt.datetime | None]


class InboxSender(Base):
    """How an inbox is to send: by its own pool, or with none by its workspace's."""

    __tablename__ = "inbox_senders"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        _of_inbox(),
        ForeignKeyConstraint(["tenant_id", "pool_id"], ["ip_pools.tenant_id", "ip_pools.id"]),
        Index("idx_inbox_senders_pool", "pool_id"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    inbox_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    pool_id: Mapped[uuid.UUID | None]


class SenderBinding(Base):
    """An inbox sends by an address since, or did so until."""

    __tablename__ = "sender_bindings"
    __table_args__ = (
        _of_inbox(),
        _of_address(),
        Index("idx_sender_bindings_one", "inbox_id", unique=True, postgresql_where=text("until IS NULL")),
        Index("idx_sender_bindings_address", "address_id"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    inbox_id: Mapped[uuid.UUID]
    address_id: Mapped[uuid.UUID]
    since: Mapped[CreatedAt]
    until: Mapped[dt.datetime | None]


class AddressReputation(Base):
    """What became of what an address sent on one day (UTC)."""

    __tablename__ = "address_reputation"
    __table_args__ = (_of_address(),)

    tenant_id: Mapped[TenantId]
    address_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    sent: Mapped[int] = mapped_column(server_default=text("0"))
    deferred: Mapped[int] = mapped_column(server_default=text("0"))
    bounced: Mapped[int] = mapped_column(server_default=text("0"))
    complained: Mapped[int] = mapped_column(server_default=text("0"))
