"""One connection, used by many tenants one after another: none finds what another left."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from db.session import Database
from tests.attack.ground import Ground
from tests.attack.rows import Rows

SEEN = text("SELECT coalesce(array_agg(name), '{}') FROM domains")
NAMED = text("SELECT current_setting('app.tenant_id', true)")


@pytest.fixture
async def pool(ground: Ground) -> AsyncIterator[Database]:
    """A pool of one connection."""
    opened = Database(ground.database.url("penguin_api"), pool_size=1)
    yield opened
    await opened.close()


async def seen_by(pool: Database, rows: Rows) -> list[str]:
    async with pool.tenant(rows.id) as session:
        return list(await session.scalar(SEEN) or [])


async def seen_by_nobody(pool: Database) -> list[str]:
    async with pool.system() as session:
        assert await session.scalar(NAMED) in {None, ""}
        return list(await session.scalar(SEEN) or [])


def own(rows: Rows) -> list[str]:
    return [rows.values["domains", "name"]]


async def test_tenants_take_turns_on_a_connection_and_see_their_own(pool: Database, ground: Ground) -> None:
    for rows in (ground.victim, ground.attacker, ground.bystander, ground.victim):
        assert await seen_by(pool, rows) == own(rows)
        assert await seen_by_nobody(pool) == []


async def test_what_ends_badly_names_no_tenant_for_the_next(pool: Database, ground: Ground) -> None:
    async def fails() -> None:
        async with pool.tenant(ground.victim.id) as session:
            await session.execute(text("SELECT 1 / 0"))

    async def is_left() -> None:
        async with pool.tenant_connection(ground.victim.id) as connection:
            await connection.execute("SAVEPOINT here")
            raise LookupError

    async def is_cancelled() -> None:
        async with pool.tenant(ground.victim.id) as session:
            await session.execute(text("SELECT 1"))
            raise asyncio.CancelledError

    for ending, error in ((fails, Exception), (is_left, LookupError), (is_cancelled, asyncio.CancelledError)):
        with pytest.raises(error):
            await ending()
        assert await seen_by_nobody(pool) == []
        assert await seen_by(pool, ground.attacker) == own(ground.attacker)


async def test_a_tenant_that_was_named_for_a_whole_session_is_not_believed_after_another_is_named(
    pool: Database, ground: Ground
) -> None:
    """Nothing of ours does it; a transaction still names its own tenant, and sees that one's rows."""
    async with pool.tenant(ground.attacker.id) as session:
        await session.execute(
            text("SELECT set_config('app.tenant_id', :tenant, false)"), {"tenant": str(ground.victim.id)}
        )
    assert await seen_by(pool, ground.attacker) == own(ground.attacker)


async def test_a_pipeline_of_statements_stays_in_its_tenant(pool: Database, ground: Ground) -> None:
    async with pool.tenant_connection(ground.attacker.id) as connection:
        async with connection.pipeline():
            cursors = [await connection.execute("SELECT name FROM domains") for _ in range(3)]
        assert [await each.fetchall() for each in cursors] == [[tuple(own(ground.attacker))]] * 3
