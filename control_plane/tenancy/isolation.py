"""Move a tenant's sends, with their events, into partitions of its own or back, while all goes on.

A row's column `isolated` says where it lies, and a tenant's where its new sends go; once this is changed, the older
sends are moved so many at a time, each by an update of that column. A page is moved by a transaction that nobody else
writes in: so whoever looks for a send to change finds it in one place or the other, and no statement fails because a
row went away under it. Readers are not kept waiting, and see each row in one place. Whatever is cut short leaves rows
in both places, where all works, and is gone on with by doing the same again.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg.errors import QueryCanceled
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.tenancy.briefly import briefly
from control_plane.tenancy.partitions import TABLES, drop_partitions, make_partitions
from control_plane.tenancy.tenants import require_tenant
from db.session import Database

#: Seconds for which a page shall keep others from writing, and how many sends it has at the least and at the most.
HOLD = 0.04
SMALLEST, LARGEST = 10, 1000
#: Others have the tables for so many times as long, between two pages.
REST = 2.0

#: Is told how many sends have moved, of how many.
Tell = Callable[[int, int], None]

_ALONE_WITH = text("SELECT pg_try_advisory_lock(hashtextextended('isolation ' || :tenant, 0))")
_TURN = text("UPDATE tenants SET isolated = :isolated WHERE id = :tenant")
_COUNT = text("SELECT count(*) FROM messages WHERE tenant_id = :tenant AND isolated <> :isolated")
# What sends another again, and all events, follow by their foreign keys.
_MOVE = text("""
WITH page AS MATERIALIZED (
    SELECT m.id FROM messages m
    WHERE m.tenant_id = :tenant AND m.isolated = NOT :isolated AND m.resend_of IS NULL AND m.id > :after
    ORDER BY m.id LIMIT :page
), moved AS (
    UPDATE messages m SET isolated = :isolated
    FROM page WHERE m.tenant_id = :tenant AND m.id = page.id AND m.isolated = NOT :isolated
    RETURNING m.id
)
SELECT count(*), (SELECT id FROM moved ORDER BY id DESC LIMIT 1) FROM moved
""")
_BEFORE_ALL = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class Moved:
    """How many sends were moved, but for those that send another again, and how long others waited for one page."""

    sends: int
    longest_hold_ms: float


async def isolate_tenant(owner: Database, system: Database, tenant_id: uuid.UUID, tell: Tell) -> Moved:
    """Give a tenant partitions of its own and move its sends there; with nothing left to do it does nothing.

    Raises `NotFound`; `Conflict` while another command moves the tenant; `Unavailable` when it never finds a moment.
    """
    async with _alone_with(system, tenant_id):
        await make_partitions(owner, tenant_id)
        return await _move_all(system, tenant_id, tell, isolated=True)


async def rejoin_tenant(owner: Database, system: Database, tenant_id: uuid.UUID, tell: Tell) -> Moved:
    """Move a tenant's sends back to everybody's partitions, and drop its own. Raises what `isolate_tenant` does."""
    async with _alone_with(system, tenant_id):
        moved = await _move_all(system, tenant_id, tell, isolated=False)
        await drop_partitions(owner, tenant_id)
        return moved


def next_page(page: int, seconds: float) -> int:
    """Return how many sends to move next, after a page that kept others waiting for so long."""
    wanted = page * 2 if seconds < HOLD / 2 else page // 2 if seconds > HOLD else page
    return min(max(wanted, SMALLEST), LARGEST)


@asynccontextmanager
async def _alone_with(system: Database, tenant_id: uuid.UUID) -> AsyncIterator[None]:
    """Be the only one that moves the tenant, for as long as the connection stands."""
    async with system.system() as session:
        await require_tenant(session, tenant_id)
    async with system.engine.connect() as pooled:
        connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
        if not await connection.scalar(_ALONE_WITH, {"tenant": str(tenant_id)}):
            raise Conflict(f"another command is moving tenant {tenant_id}")
        try:
            yield
        finally:
            await connection.invalidate()


async def _move_all(system: Database, tenant_id: uuid.UUID, tell: Tell, *, isolated: bool) -> Moved:
    """Turn what is new to the other place, then move what is not there, until a page from the beginning is empty."""
    of = {"tenant": tenant_id, "isolated": isolated}
    async with system.system() as session:
        await session.execute(_TURN, of)
        total = await session.scalar(_COUNT, of) or 0
    page, after, moved, longest = SMALLEST, _BEFORE_ALL, 0, 0.0
    while True:
        try:
            count, last, seconds = await _move_page(system, {**of, "after": after, "page": page})
        except OperationalError as error:
            if page == SMALLEST or not isinstance(error.orig, QueryCanceled):
                raise
            page = SMALLEST
            continue
        moved, longest = moved + count, max(longest, seconds)
        tell(moved, max(total, moved))
        if last is None and after == _BEFORE_ALL:
            return Moved(moved, round(longest * 1000, 1))
        after = last or _BEFORE_ALL
        page = next_page(page, seconds)
        await asyncio.sleep(seconds * REST)


async def _move_page(system: Database, values: dict[str, object]) -> tuple[int, uuid.UUID | None, float]:
    async def move(session: AsyncSession) -> tuple[int, uuid.UUID | None, float]:
        began = time.monotonic()
        count, last = (await session.execute(_MOVE, values)).one()
        return count, last, began

    count, last, began = await briefly(system, "EXCLUSIVE", TABLES, move)
    return count, last, time.monotonic() - began
