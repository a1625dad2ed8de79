"""Inboxes that move from one server to another."""

import datetime as dt
import uuid

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


class InboxMove(Base):
    """One inbox on its way, or one that has arrived or been taken back."""

    __tablename__ = "inbox_moves"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "inbox_id"], ["inboxes.tenant_id", "inboxes.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["tenant_id", "source_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "target_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"
        ),
        Index("idx_inbox_moves_request", "request_id"),
        Index("idx_inbox_moves_open", "inbox_id", unique=True, postgresql_where=text("finished_at IS NULL")),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    request_id: Mapped[uuid.UUID]
    inbox_id: Mapped[uuid.UUID]
    source_id: Mapped[uuid.UUID]
    target_id: Mapped[uuid.UUID]
    state: Mapped[str] = mapped_column(String(20), server_default=text("'copying'"))
    password_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    password_hash: Mapped[str | None] = mapped_column(Text)
    forward_until: Mapped[dt.datetime | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[dt.datetime | None]
