"""Answers to requests that came with an idempotency key (control_plane/rest/kept_answers.py)."""

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, TenantId


class _Kept:
    """What each has. Without a status it is being worked on; without a body it showed a secret and is not kept."""

    request_hmac: Mapped[bytes]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    body: Mapped[bytes | None] = mapped_column(deferred=True)
    created_at: Mapped[CreatedAt]


class KeptAnswer(_Kept, Base):
    """One to a tenant's caller. `within` is what its caller is there for, as db/session.py writes it."""

    __tablename__ = "kept_answers"
    __table_args__ = (Index("idx_kept_answers_age", "created_at"),)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    within: Mapped[str] = mapped_column(Text, primary_key=True, server_default=text("''"))
    key: Mapped[str] = mapped_column(String(255), primary_key=True)


class AnswerToPerson(_Kept, Base):
    """One to somebody at /auth, logged in or not, by an HMAC of who it is and the key."""

    __tablename__ = "kept_answers_to_people"
    __table_args__ = (Index("idx_kept_answers_to_people_age", "created_at"),)

    place: Mapped[bytes] = mapped_column(primary_key=True)


class AnswerToOperator(_Kept, Base):
    """One to an operator, by the id of their API key."""

    __tablename__ = "kept_answers_to_operators"
    __table_args__ = (Index("idx_kept_answers_to_operators_age", "created_at"),)

    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("platform_keys.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
