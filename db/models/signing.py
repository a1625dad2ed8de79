"""What AWS clients' signatures are checked with."""

import uuid

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, TenantId


class SigningSecret(Base):
    """The secret of an API key that may sign, sealed (control_plane/ses/signing_secrets.py)."""

    __tablename__ = "signing_secrets"
    __table_args__ = (Index("idx_signing_secrets_tenant", "tenant_id"),)

    api_key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[TenantId]
    secret_sealed: Mapped[bytes] = mapped_column(deferred=True)
    created_at: Mapped[CreatedAt]
