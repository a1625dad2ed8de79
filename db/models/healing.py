"""What the fleet does about itself."""

import datetime as dt
import uuid

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


def _of_server() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"
    )


class HealingCondition(Base):
    """A rule's condition that is not over on a server."""

    __tablename__ = "healing_conditions"
    __table_args__ = (_of_server(),)

    vps_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    rule: Mapped[str] = mapped_column(Text, primary_key=True)
    tenant_id: Mapped[TenantId]
    began_at: Mapped[dt.datetime]
    bad_since: Mapped[dt.datetime | None]
    well_since: Mapped[dt.datetime | None]
    reason: Mapped[str] = mapped_column(Text)


class HealingActRow(Base):
    """Something that was done about a server without a person."""

    __tablename__ = "healing_acts"
    __table_args__ = (
        _of_server(),
        Index("idx_healing_acts_vps", "vps_id", "began_at"),
        Index("idx_healing_acts_open", "vps_id", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    vps_id: Mapped[uuid.UUID]
    rule: Mapped[str] = mapped_column(Text)
    act: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    command_id: Mapped[uuid.UUID | None]
    ended_by: Mapped[str | None] = mapped_column(Text)
    began_at: Mapped[dt.datetime]
    ended_at: Mapped[dt.datetime | None]


class HealingForbidden(Base):
    """A rule, or all, that may do nothing on a server, or on all."""

    __tablename__ = "healing_forbidden"
    __table_args__ = (UniqueConstraint("rule", "of_vps_id", postgresql_nulls_not_distinct=True),)

    id: Mapped[RowId]
    rule: Mapped[str | None] = mapped_column(Text)
    of_vps_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("vps_servers.id", ondelete="CASCADE"))
    reason: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
