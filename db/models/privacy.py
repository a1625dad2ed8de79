"""Erasures of data subjects."""

import datetime as dt

from sqlalchemy import Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId

_OPEN = text("finished_at IS NULL")


class DataSubjectErasure(Base):
    """That all a tenant has on an address be erased; the address itself goes at the end."""

    __tablename__ = "data_subject_erasures"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        Index("idx_data_subject_erasures_open", "tenant_id", "address", unique=True, postgresql_where=_OPEN),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    address: Mapped[str | None] = mapped_column(String(320))
    requested_by: Mapped[str] = mapped_column(Text)
    requested_at: Mapped[CreatedAt]
    finished_at: Mapped[dt.datetime | None]
    messages: Mapped[int] = mapped_column(server_default=text("0"))
    events: Mapped[int] = mapped_column(server_default=text("0"))
