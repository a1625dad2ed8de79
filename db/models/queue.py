"""What is held back in the queue."""

import datetime as dt
import uuid

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId


class Pause(Base):
    """A server, an inbox, a tenant or a priority whose sends are not leased until it is resumed."""

    __tablename__ = "pauses"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "vps_id"], ["vps_servers.tenant_id", "vps_servers.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["tenant_id", "inbox_id"], ["inboxes.tenant_id", "inboxes.id"], ondelete="CASCADE"),
        Index(
            "idx_pauses_in_force",
            "tenant_id",
            "vps_id",
            "inbox_id",
            "priority",
            "by_operator",
            "healing_act_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("resumed_at IS NULL"),
        ),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"))
    vps_id: Mapped[uuid.UUID | None]
    inbox_id: Mapped[uuid.UUID | None]
    priority: Mapped[int | None] = mapped_column(SmallInteger)
    reason: Mapped[str | None] = mapped_column(Text)
    by_operator: Mapped[bool] = mapped_column(server_default=text("false"))
    #: What made it, when no person did.
    healing_act_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("healing_acts.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    resumed_at: Mapped[dt.datetime | None]
