"""How much stands in the queue, how old it is, and why what is due is not leased. For people: it counts rows."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.queuer.statements import CLOCK_TOLERANCE_SECONDS
from db.session import driver_connection

_SQL = resources.files("control_plane.queuer")
_DEPTH = _SQL.joinpath("depth.sql").read_bytes()
_STANDING = _SQL.joinpath("standing.sql").read_bytes()


@dataclass(frozen=True, slots=True)
class Depth:
    """The sends of one tenant, server and priority: not leased, of these the due ones, leased, and dead."""

    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    priority: int
    waiting: int
    due: int
    leased: int
    dead: int
    oldest_due: datetime | None
    oldest_lease: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """An inbox whose oldest send has been due for a while; `why` is empty when nothing is known to hold it."""

    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    priority: int
    inbox_id: uuid.UUID
    oldest: datetime
    why: str


async def queue_depth(session: AsyncSession) -> Sequence[Depth]:
    """Return what the session sees of the queue."""
    driver = await driver_connection(session)
    async with driver.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_DEPTH)
        return [Depth(**row) for row in await cursor.fetchall()]


async def standing_still(
    session: AsyncSession, seconds: float, clock_tolerance_seconds: int = CLOCK_TOLERANCE_SECONDS
) -> Sequence[Standing]:
    """Return the inboxes that the session sees and that have had something due for so many seconds, and why."""
    driver = await driver_connection(session)
    parameters = {"seconds": seconds, "clock_tolerance_seconds": clock_tolerance_seconds}
    async with driver.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_STANDING, parameters, prepare=False)
        return [Standing(**row) for row in await cursor.fetchall()]
