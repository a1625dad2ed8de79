"""A process that stands still in the middle of a transaction, and others that wait for what it has locked."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.session import Database, with_idle_limit
from tests.integration.database import FreshDatabase, SomeTenant

_LOCK = text("SELECT FROM tenants WHERE id = :id FOR UPDATE")


async def test_a_transaction_in_which_nothing_is_said_lets_go_of_its_locks(
    database: FreshDatabase, system_database: Database, tenant: SomeTenant
) -> None:
    still = Database(with_idle_limit(database.url("penguin_system"), 0.2))
    try:
        async with still.engine.connect() as standing:
            await standing.execute(_LOCK, {"id": tenant.id})

            async with system_database.system() as waiting:
                await waiting.execute(_LOCK, {"id": tenant.id})

            with pytest.raises(DBAPIError):
                await standing.execute(_LOCK, {"id": tenant.id})
    finally:
        await still.close()
