"""Where tenants' mailboxes are backed up to."""

from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, TenantId


class MailBackupTarget(Base):
    """A tenant's place, with what opens it, sealed (control_plane/fleet/mail_backups.py)."""

    __tablename__ = "mail_backup_targets"

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    target_sealed: Mapped[bytes] = mapped_column(deferred=True)
    set_at: Mapped[CreatedAt]
