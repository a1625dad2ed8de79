"""Real PostgreSQL for tests: a private cluster, a migrated template, and a fresh copy of it for each test."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import text

from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.identity.api_keys import create_api_key
from control_plane.tenancy.tenants import create_tenant, create_workspace
from db.migrations.run import upgrade
from db.session import Database

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder inside it has a random name and mode 0700
_ROOM = 2**30
_BLOCKED = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
)


@dataclass(frozen=True, slots=True)
class SomeTenant:
    """A tenant with one workspace and one API key."""

    id: uuid.UUID
    workspace_id: uuid.UUID
    api_key: str


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """A migrated database of one test's own."""

    cluster: EmbeddedPostgres
    name: str

    def url(self, user: str) -> str:
        return self.cluster.url(user, self.name)


@contextmanager
def cluster_with_template() -> Iterator[EmbeddedPostgres]:
    """Run a cluster whose database `penguin` is migrated and has no connections, so that it can be copied."""
    with tempfile.TemporaryDirectory(prefix="penguin-pg-", dir=_in_memory()) as directory:
        cluster = EmbeddedPostgres(Path(directory) / "data", Path(directory) / "sockets")
        cluster.start()
        try:
            upgrade(cluster.url(OWNER))
            yield cluster
        finally:
            cluster.stop()


def _in_memory() -> Path | None:
    """Return a folder in memory with room enough, if there is one: each copy and drop waits for the disk ten times."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM else None


@contextmanager
def fresh_database(cluster: EmbeddedPostgres, template: str = "penguin") -> Iterator[FreshDatabase]:
    """Copy the template, and drop the copy again with whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(cluster.url(OWNER, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
        try:
            yield FreshDatabase(cluster, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def make_tenant(system_database: Database, name: str) -> SomeTenant:
    async with system_database.system() as session:
        tenant_id = await create_tenant(session, name)
        workspace_id = await create_workspace(session, tenant_id, "Sales")
        return SomeTenant(tenant_id, workspace_id, await create_api_key(session, tenant_id, "tests"))


async def until_blocked(database: Database, waiting: int = 1) -> None:
    """Return once so many wait for others' locks."""
    async with asyncio.timeout(20):
        while True:
            async with database.system() as session:
                if (await session.scalar(_BLOCKED) or 0) >= waiting:
                    return
