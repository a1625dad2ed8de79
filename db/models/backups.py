"""What came of backups."""

import datetime as dt

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId


class BackupResult(Base):
    """One copy of the database that was saved or not, or one test that restored one; no tenant's data."""

    __tablename__ = "backup_results"
    __table_args__ = (Index("idx_backup_results_newest", "kind", "ended_at"),)

    id: Mapped[RowId]
    kind: Mapped[str] = mapped_column(Text)
    began_at: Mapped[dt.datetime]
    ended_at: Mapped[CreatedAt]
    ok: Mapped[bool]
    sentence: Mapped[str] = mapped_column(Text)
