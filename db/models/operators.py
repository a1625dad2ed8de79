"""Operators' keys, and what operators did."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId


class PlatformKey(Base):
    """An operator's key, by its hash (control_plane/operators/keys.py)."""

    __tablename__ = "platform_keys"
    __table_args__ = (UniqueConstraint("prefix"),)

    id: Mapped[RowId]
    name: Mapped[str] = mapped_column(String(255))
    prefix: Mapped[str] = mapped_column(String(32))
    secret_sha256: Mapped[bytes] = mapped_column(deferred=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[CreatedAt]
    last_used_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]


class OperatorAct(Base):
    """Something that an operator changed: who, what, when and why. Never altered."""

    __tablename__ = "operator_acts"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[dt.datetime] = mapped_column(server_default=text("now()"))
    door: Mapped[str] = mapped_column(String(20))
    key_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("platform_keys.id"))
    actor: Mapped[str] = mapped_column(String(255))
    act: Mapped[str] = mapped_column(String(50))
    subject: Mapped[dict[str, Any]]
    reason: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(String(64))
