"""What is known of accounts at providers of servers."""

import datetime as dt

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base


class ProviderRateLimit(Base):
    """What is left of an account's rate limit; no tenant's data."""

    __tablename__ = "provider_rate_limits"

    account: Mapped[str] = mapped_column(Text, primary_key=True)
    per_hour: Mapped[int]
    remaining: Mapped[float]
    measured_at: Mapped[dt.datetime]
