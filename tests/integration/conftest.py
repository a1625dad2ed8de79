import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.queuer.streams import connect
from control_plane.rest.app import make_app
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant, cluster_with_template, fresh_database, make_tenant
from tests.integration.rest import client_of


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


@pytest.fixture
def rest_settings(database: FreshDatabase, tmp_path: Path) -> Settings:
    """Settings of an api process; its provider is the local one, and nobody is behind its socket."""
    return Settings.model_validate(
        {
            "state_dir": tmp_path,
            "api_database_url": database.url("penguin_api"),
            "system_database_url": database.url("penguin_system"),
            "identity_database_url": database.url("penguin_identity"),
            "redis_url": "unix:///nowhere",
            "local_cloud_socket": tmp_path / "cloud.sock",
        }
    )


@pytest.fixture
async def rest_app(rest_settings: Settings) -> AsyncIterator[FastAPI]:
    app = make_app(rest_settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def rest_client(rest_app: FastAPI, tenant: SomeTenant) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the tenant's key; paths are relative to /api/v1/."""
    async with client_of(rest_app, tenant.api_key) as client:
        yield client


@pytest.fixture
async def other_client(rest_app: FastAPI, other_tenant: SomeTenant) -> AsyncIterator[httpx.AsyncClient]:
    """The same for the other tenant."""
    async with client_of(rest_app, other_tenant.api_key) as client:
        yield client
