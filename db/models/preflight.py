"""What is found about servers before they are used."""

import ipaddress
import uuid

from sqlalchemy import ForeignKeyConstraint, Index, Text
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, TenantId


class PreflightResult(Base):
    """The newest result of one check of a server; `since` is when its verdict was first this one."""

    __tablename__ = "preflight_results"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"),
    )

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    about: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[TenantId]
    address: Mapped[ipaddress.IPv4Address | ipaddress.IPv6Address] = mapped_column(INET)
    verdict: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
    since: Mapped[CreatedAt]
    checked_at: Mapped[CreatedAt]


class RefusedAddress(Base):
    """An address of a provider that a server was not to be used with; no tenant's data."""

    __tablename__ = "refused_addresses"
    __table_args__ = (Index("idx_refused_addresses_vps", "vps_id"),)

    provider: Mapped[str] = mapped_column(Text, primary_key=True)
    address: Mapped[ipaddress.IPv4Address | ipaddress.IPv6Address] = mapped_column(INET, primary_key=True)
    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    refused_at: Mapped[CreatedAt]
