"""Where tenants' mailboxes are backed up to."""

import datetime as dt

from sqlalchemy import Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, TenantId


class MailBackupTarget(Base):
    """A tenant's place, with what opens it, sealed (control_plane/fleet/mail_backups.py)."""

    __tablename__ = "mail_backup_targets"

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    target_sealed: Mapped[bytes | None] = mapped_column(deferred=True)
    place: Mapped[str | None] = mapped_column(Text)
    credentials: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    set_at: Mapped[CreatedAt]
    removed_at: Mapped[dt.datetime | None]
