"""Keys that secrets are sealed with, wrapped."""

import datetime as dt
import uuid

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId

_CURRENT = text("retired_at IS NULL")


class TenantDataKey(Base):
    """A tenant's key; one of them seals."""

    __tablename__ = "tenant_data_keys"
    __table_args__ = (Index("idx_tenant_data_keys_current", "tenant_id", unique=True, postgresql_where=_CURRENT),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    wrapped_key: Mapped[bytes] = mapped_column(deferred=True)
    created_at: Mapped[CreatedAt]
    retired_at: Mapped[dt.datetime | None]


class PlatformDataKey(Base):
    """The same of what belongs to no tenant."""

    __tablename__ = "platform_data_keys"
    __table_args__ = (
        Index("idx_platform_data_keys_current", text("(retired_at IS NULL)"), unique=True, postgresql_where=_CURRENT),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    wrapped_key: Mapped[bytes] = mapped_column(deferred=True)
    created_at: Mapped[CreatedAt]
    retired_at: Mapped[dt.datetime | None]


class KeyRotation(Base):
    """A change of keys and how far it has come."""

    __tablename__ = "key_rotations"

    id: Mapped[RowId]
    master_header: Mapped[bytes]
    asked_at: Mapped[CreatedAt]
    rewrapped: Mapped[int] = mapped_column(server_default=text("0"))
    resealed: Mapped[int] = mapped_column(server_default=text("0"))
    broken: Mapped[int] = mapped_column(server_default=text("0"))
    finished_at: Mapped[dt.datetime | None]
