"""How often a project is asked: one bucket in PostgreSQL for all workers, filled as Hetzner fills its own.

A call reserves the most that it may send, before it begins, and gives back what it did not need. Each answer says what
the project has left, which also counts what others send with the same project's tokens; the lower of the two is kept.
The limit is 3600 an hour unless an answer says otherwise, and what is left grows steadily (docs.hetzner.cloud, "Rate
limiting").
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.providers.base import ProviderBusy
from control_plane.providers.hetzner.client import RateLimit
from db.session import Database

PER_HOUR = 3600
#: Kept for people and their tools, who share the project's limit.
RESERVE = 30

_OPEN = text(
    "INSERT INTO provider_rate_limits (account, per_hour, remaining, measured_at)"
    " VALUES (:account, :per_hour, :per_hour, now()) ON CONFLICT DO NOTHING"
)
# The age is taken once the lock is held.
_LOCK = text("SELECT per_hour, remaining, measured_at FROM provider_rate_limits WHERE account = :account FOR UPDATE")
_AGE = text("SELECT extract(epoch FROM clock_timestamp() - CAST(:measured_at AS timestamptz))")
_WRITE = text(
    "UPDATE provider_rate_limits SET per_hour = :per_hour, remaining = :remaining, measured_at = clock_timestamp()"
    " WHERE account = :account"
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is left at this moment, reservations taken off."""

    per_hour: int
    remaining: float

    def after(self, seconds: float) -> "Bucket":
        """Return it as it has filled up meanwhile."""
        grown = self.remaining + max(seconds, 0.0) * self.per_hour / 3600.0
        return replace(self, remaining=min(float(self.per_hour), grown))

    def seconds_until(self, cost: int) -> float:
        """Return how long until that many may be reserved; 0.0 means now."""
        return max((cost + RESERVE - self.remaining) * 3600.0 / self.per_hour, 0.0)

    def settled(self, cost: int, seen: RateLimit) -> "Bucket":
        """Return it with what a call of that reservation did not send, and not above what the answers said."""
        remaining = self.remaining + max(cost - seen.sent, 0)
        if seen.remaining is not None:
            remaining = min(remaining, float(seen.remaining))
        return Bucket(seen.per_hour or self.per_hour, remaining)


class Pace(Protocol):
    """Whether a call may begin."""

    async def reserve(self, cost: int) -> None:
        """Take `cost` requests; raise `ProviderBusy`, with the seconds until they are there, when too few are left."""

    async def settle(self, cost: int, seen: RateLimit) -> None:
        """Give back what was not sent, and take over what the answers said."""


class Unpaced:
    """For a process that only asks now and then, at a person's word, and has no database of the workers."""

    async def reserve(self, cost: int) -> None:
        """Let it pass."""

    async def settle(self, cost: int, seen: RateLimit) -> None:
        """Keep nothing."""


class SharedPace:
    """The bucket of one token's project in the database."""

    def __init__(self, database: Database, token: SecretStr) -> None:
        self._database = database
        self._account = "hetzner:" + hashlib.sha256(token.get_secret_value().encode()).hexdigest()[:16]

    async def reserve(self, cost: int) -> None:
        """Take `cost` requests from the bucket, or say when they will be there."""
        async with self._database.system() as session:
            bucket = await self._held(session)
            seconds = bucket.seconds_until(cost)
            if not seconds:
                await self._write(session, replace(bucket, remaining=bucket.remaining - cost))
        if seconds:
            raise ProviderBusy("the project's rate limit at Hetzner is used up; it fills again", max(seconds, 1.0))

    async def settle(self, cost: int, seen: RateLimit) -> None:
        """Give back what was not sent; what Hetzner says is left bounds what we think is left."""
        async with self._database.system() as session:
            await self._write(session, (await self._held(session)).settled(cost, seen))

    async def _held(self, session: AsyncSession) -> Bucket:
        """Return the bucket as it is now, locked until the transaction ends."""
        await session.execute(_OPEN, {"account": self._account, "per_hour": PER_HOUR})
        row = (await session.execute(_LOCK, {"account": self._account})).one()
        age = float(await session.scalar(_AGE, {"measured_at": row.measured_at}) or 0.0)
        return Bucket(row.per_hour, row.remaining).after(age)

    async def _write(self, session: AsyncSession, bucket: Bucket) -> None:
        values = {"account": self._account, "per_hour": bucket.per_hour, "remaining": bucket.remaining}
        await session.execute(_WRITE, values)
