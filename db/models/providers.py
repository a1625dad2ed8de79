"""What is known of accounts at providers of servers."""

import datetime as dt
import decimal
import uuid

from sqlalchemy import Index, Numeric, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base


class ProviderOrder(Base):
    """An order at a provider that charges at once and answers without an id; no tenant's data."""

    __tablename__ = "provider_orders"
    __table_args__ = (
        Index(
            "idx_provider_orders_unresolved",
            "account",
            unique=True,
            postgresql_where=text("found_at IS NULL AND ended_at IS NULL"),
        ),
    )

    account: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    attempt: Mapped[uuid.UUID]
    monthly: Mapped[decimal.Decimal] = mapped_column(Numeric(10, 2))
    placed_at: Mapped[dt.datetime] = mapped_column(server_default=text("now()"))
    found_at: Mapped[dt.datetime | None]
    ended_at: Mapped[dt.datetime | None]
    generation: Mapped[int] = mapped_column(server_default=text("0"))


class ProviderRateLimit(Base):
    """What is left of an account's rate limit; no tenant's data."""

    __tablename__ = "provider_rate_limits"

    account: Mapped[str] = mapped_column(Text, primary_key=True)
    per_hour: Mapped[int]
    remaining: Mapped[float]
    measured_at: Mapped[dt.datetime]


class ProviderLook(Base):
    """When a provider was last asked for all our servers, and whether an operator wants that done again."""

    __tablename__ = "provider_looks"

    provider: Mapped[str] = mapped_column(Text, primary_key=True)
    looked_at: Mapped[dt.datetime | None]
    wanted_at: Mapped[dt.datetime | None]
    fault: Mapped[str | None] = mapped_column(Text)


class StrayServer(Base):
    """A server at a provider that nothing needs, or one that should be there and is not; no tenant's data."""

    __tablename__ = "stray_servers"

    provider: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    ipv4_address: Mapped[str | None] = mapped_column(Text)
    vps_id: Mapped[uuid.UUID | None]
    seen_at: Mapped[dt.datetime] = mapped_column(server_default=text("now()"))
    reap_at: Mapped[dt.datetime | None]
