"""What was done in a tenant."""

import datetime as dt
from typing import Any

from sqlalchemy import BigInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, TenantId


class AuditEvent(Base):
    """A deed, linked to the one before it (control_plane/audit/chain.py)."""

    __tablename__ = "audit_events"

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[dt.datetime]
    actor: Mapped[str] = mapped_column(Text)
    act: Mapped[str] = mapped_column(Text)
    subject: Mapped[dict[str, Any]]
    fields: Mapped[list[str]] = mapped_column(ARRAY(Text))
    address: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]
