"""Runs of pipelines and their steps."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import ForeignKeyConstraint, Index, SmallInteger, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId


class PipelineRun(Base):
    """One pipeline, asked for one server or inbox."""

    __tablename__ = "pipeline_runs"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        ForeignKeyConstraint(["tenant_id", "workspace_id"], ["workspaces.tenant_id", "workspaces.id"]),
        Index(
            "idx_pipeline_runs_open",
            "created_at",
            postgresql_where=text("state IN ('waiting', 'running', 'needs_person', 'undoing')"),
        ),
        Index("idx_pipeline_runs_subject", "tenant_id", "subject_id"),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    kind: Mapped[str] = mapped_column(String(50))
    subject_id: Mapped[uuid.UUID]
    state: Mapped[str] = mapped_column(String(20), server_default=text("'waiting'"))
    error: Mapped[str | None] = mapped_column(Text)
    remedy: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[dt.datetime | None]
    #: That of what it is about, also when that is gone; a trigger fills it in.
    workspace_id: Mapped[uuid.UUID | None]


class PipelineStep(Base):
    """One step of a run; whoever records its result must still hold its fencing token."""

    __tablename__ = "pipeline_steps"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "run_id"], ["pipeline_runs.tenant_id", "pipeline_runs.id"], ondelete="CASCADE"
        ),
    )

    run_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(50))
    state: Mapped[str] = mapped_column(String(20), server_default=text("'waiting'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    fencing_token: Mapped[uuid.UUID | None]
    claimed_until: Mapped[dt.datetime | None]
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    undo_started_at: Mapped[dt.datetime | None]
    undone_at: Mapped[dt.datetime | None]
