import pytest

from db.session import Database
from tests.integration.database import SomeTenant

_INSERT = "INSERT INTO pipeline_runs (tenant_id, kind, subject_id) VALUES (%s, 'inbox.setup', gen_random_uuid())"
_COUNT = "SELECT count(*) FROM pipeline_runs"


async def runs(database: Database, tenant: SomeTenant) -> object:
    async with database.tenant_connection(tenant.id) as connection:
        return await (await connection.execute(_COUNT)).fetchone()


async def test_what_was_done_is_committed_and_is_its_tenants_alone(
    api_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    async with api_database.tenant_connection(tenant.id) as connection:
        await connection.execute(_INSERT, (tenant.id,))
    assert await runs(api_database, tenant) == (1,)
    assert await runs(api_database, other_tenant) == (0,)


async def test_an_error_takes_all_back_and_leaves_the_connection_fit(
    api_database: Database, tenant: SomeTenant
) -> None:
    async def insert_and_fail() -> None:
        async with api_database.tenant_connection(tenant.id) as connection:
            await connection.execute(_INSERT, (tenant.id,))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await insert_and_fail()
    assert await runs(api_database, tenant) == (0,)


async def test_the_tenant_does_not_stay_on_the_pooled_connection(api_database: Database, tenant: SomeTenant) -> None:
    async with api_database.tenant_connection(tenant.id) as connection:
        await connection.execute(_INSERT, (tenant.id,))
    async with api_database.system() as session:
        assert (await (await session.connection()).exec_driver_sql(_COUNT)).scalar() == 0
