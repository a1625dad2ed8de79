import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.identity.api_keys import create_api_key
from control_plane.queuer.streams import connect
from control_plane.tenancy.tenants import create_tenant, create_workspace
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant, cluster_with_template, fresh_database


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for the whole run."""
    with cluster_with_template() as running:
        yield running


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One Redis for the whole run."""
    with tempfile.TemporaryDirectory(prefix="penguin-redis-") as directory:
        server = EmbeddedRedis(Path(directory) / "redis")
        server.start()
        yield server
        server.stop()


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    client = connect(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def database(cluster: EmbeddedPostgres) -> Iterator[FreshDatabase]:
    """A migrated and empty database of the test's own."""
    with fresh_database(cluster) as fresh:
        yield fresh


@pytest.fixture
def owner_url(database: FreshDatabase) -> str:
    return database.url(OWNER)


@pytest.fixture
async def api_database(database: FreshDatabase) -> AsyncIterator[Database]:
    opened = Database(database.url("penguin_api"))
    yield opened
    await opened.close()


@pytest.fixture
async def system_database(database: FreshDatabase) -> AsyncIterator[Database]:
    opened = Database(database.url("penguin_system"))
    yield opened
    await opened.close()


@pytest.fixture
async def tenant(system_database: Database) -> SomeTenant:
    return await make_tenant(system_database, "Penguin Post")


@pytest.fixture
async def other_tenant(system_database: Database) -> SomeTenant:
    return await make_tenant(system_database, "Walrus Mail")


async def make_tenant(system_database: Database, name: str) -> SomeTenant:
    async with system_database.system() as session:
        tenant_id = await create_tenant(session, name)
        workspace_id = await create_workspace(session, tenant_id, "Sales")
        return SomeTenant(tenant_id, workspace_id, await create_api_key(session, tenant_id, "tests"))
