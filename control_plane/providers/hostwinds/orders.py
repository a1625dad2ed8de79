"""Orders, in PostgreSQL: written before an order is sent, since its answer holds no id and may be lost.

An order is unresolved from then until its server is seen, and an account has one such at most (a unique index). While
it is unresolved nothing else is ordered: it is looked for, and a person can say that it was never placed. A row stays
when its server is gone, so that an order for the same server is not sent again by a worker that wakes late.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.providers.base import ProviderBusy
from control_plane.providers.hostwinds.catalogue import Allowance
from db.session import Database

_PLACE = text(
    "INSERT INTO provider_orders (account, name, attempt, monthly) VALUES (:account, :name, :attempt, :monthly)"
)
_SUM = text("SELECT sum(monthly) FROM provider_orders WHERE account = :account AND ended_at IS NULL")
_LOAD = text(
    "SELECT placed_at, now() - placed_at AS age, found_at IS NOT NULL AS found, ended_at IS NOT NULL AS ended,"
    " generation FROM provider_orders WHERE account = :account AND name = :name"
)
_WITHDRAW = text("DELETE FROM provider_orders WHERE account = :account AND name = :name AND attempt = :attempt")
_FOUND = text(
    "UPDATE provider_orders SET found_at = now() WHERE account = :account AND name = :name AND found_at IS NULL"
)
_END = text(
    "UPDATE provider_orders SET ended_at = now()"
    " WHERE account = :account AND name = :name AND found_at IS NOT NULL AND ended_at IS NULL"
)
_FORGET = text("DELETE FROM provider_orders WHERE name = :name AND found_at IS NULL RETURNING name")
_REBUILT = text("UPDATE provider_orders SET generation = :generation WHERE account = :account AND name = :name")


@dataclass(frozen=True, slots=True)
class Order:
    """How an order stands."""

    placed_at: datetime
    age: timedelta
    found: bool
    ended: bool
    generation: int


class Orders:
    """The orders of one account."""

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account

    async def place(self, name: str, monthly: Decimal, allowance: Allowance) -> uuid.UUID:
        """Write an order that is about to be sent, and return what to withdraw it by.

        Raises `ProviderBusy` while another is unresolved, and `ProviderError` when the sum is more than is allowed.
        """
        attempt = uuid.uuid4()
        row = {"account": self._account, "name": name, "attempt": attempt, "monthly": monthly}
        try:
            async with self._database.system() as session:
                await session.execute(_PLACE, row)
                allowance.check_sum(Decimal(await session.scalar(_SUM, {"account": self._account}) or 0))
        except IntegrityError:
            raise ProviderBusy("another order at Hostwinds is not resolved yet; one at a time", 5.0) from None
        return attempt

    async def load(self, name: str) -> Order | None:
        """Return the order of a server, if there was one."""
        async with self._database.system() as session:
            row = (await session.execute(_LOAD, self._key(name))).one_or_none()
        return None if row is None else Order(row.placed_at, row.age, row.found, row.ended, row.generation)

    async def withdraw(self, name: str, attempt: uuid.UUID) -> None:
        """Forget an order that surely was not placed."""
        async with self._database.system() as session:
            await session.execute(_WITHDRAW, {**self._key(name), "attempt": attempt})

    async def found(self, name: str) -> None:
        """Note that the server is there: the order is resolved."""
        async with self._database.system() as session:
            await session.execute(_FOUND, self._key(name))

    async def end(self, name: str) -> None:
        """Note that the server was there and is gone."""
        async with self._database.system() as session:
            await session.execute(_END, self._key(name))

    async def rebuilt(self, name: str, generation: int) -> None:
        """Note that this generation of the server's disk was asked for."""
        async with self._database.system() as session:
            await session.execute(_REBUILT, {**self._key(name), "generation": generation})

    def _key(self, name: str) -> dict[str, str]:
        return {"account": self._account, "name": name}


async def forget_order(session: AsyncSession, name: str) -> bool:
    """Take a person's word that an unresolved order was never placed; return whether there was one."""
    return bool((await session.execute(_FORGET, {"name": name})).all())
