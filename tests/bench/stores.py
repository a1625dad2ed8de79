"""Real PostgreSQL and Redis on the disk, for one bench, with a tenant whose sends wait by the thousand."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from redis.asyncio import Redis

from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.queuer.streams import connect
from db.migrations.run import upgrade
from db.session import Database
from tests.integration.database import SomeTenant, make_tenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server

SERVERS = 10
_INBOXES = 2
_LIMIT = 1_000_000_000
_SUPPRESSED = 1000

#: Sends of one inbox with ids of version 7 in the order in which they are due, as the API makes them. The owner checks
#: no foreign key here: rows are prepared in no measured time.
_WAITING = """
INSERT INTO messages (tenant_id, id, workspace_id, inbox_id, vps_id, priority, envelope_sender, recipient,
                      signing_domain, subject, payload, send_at)
SELECT %(tenant)s,
       (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(%(inbox)s::text), 1, 3)
        || '8' || substr(md5(%(inbox)s::text || n), 1, 15))::uuid,
       %(workspace)s, %(inbox)s, %(vps)s, 1, 'sales@penguin.example', 'b' || n || '@walrus.example',
       'penguin.example', 'Fish', %(payload)s, now() - interval '1 day' + n * interval '1 microsecond'
FROM generate_series(1, %(count)s) AS n
"""
_SUPPRESSIONS = """
INSERT INTO suppressions SELECT %(tenant)s, 'gone' || n || '@walrus.example', 'bounce', now()
FROM generate_series(1, %(count)s) AS n
"""


@dataclass(frozen=True, slots=True)
class Stores:
    """Both, running."""

    cluster: EmbeddedPostgres
    redis_server: EmbeddedRedis

    def cpu_seconds(self) -> float:
        """Return the seconds of processors' time that PostgreSQL has used, in what runs and what has ended."""
        postmaster = psutil.Process(int((self.cluster._data_dir / "postmaster.pid").read_text().split()[0]))
        ended = postmaster.cpu_times()
        family = [each.cpu_times() for each in (postmaster, *postmaster.children())]
        return ended.children_user + ended.children_system + sum(each.user + each.system for each in family)

    def new_database(self, name: str) -> str:
        """Make an empty database, in place of one of that name, and return its owner's URL."""
        with psycopg.connect(self.cluster.url(OWNER, "postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.cluster.url(OWNER, name)

    def execute(self, *statements: str) -> None:
        """Run statements as the owner, each by itself."""
        with psycopg.connect(self.cluster.url(OWNER), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def count(self, query: str) -> int:
        """Return the number that a query gives."""
        (number,) = self.numbers(query)
        return number

    def numbers(self, query: str) -> list[int]:
        """Return the numbers in the first column of what a query gives."""
        with psycopg.connect(self.cluster.url(OWNER), autocommit=True) as connection:
            return [int(row[0]) for row in connection.execute(query.encode()).fetchall()]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Ten servers with two inboxes each, of one tenant."""

    stores: Stores
    database: Database
    redis: Redis
    tenant: SomeTenant
    inboxes: Sequence[SomeInbox]

    @property
    def servers(self) -> list[uuid.UUID]:
        return list(dict.fromkeys(inbox.vps_id for inbox in self.inboxes))

    async def only_waiting(self, count: int, payload: bytes) -> None:
        """Let so many sends wait, shared among the inboxes, and nothing else be there."""
        await self.redis.flushall()
        self.stores.execute("TRUNCATE messages CASCADE", "TRUNCATE inbox_daily_sends")
        with psycopg.connect(self.stores.cluster.url(OWNER), autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            for inbox in self.inboxes:
                row = {
                    "tenant": inbox.tenant.id,
                    "workspace": inbox.tenant.workspace_id,
                    "inbox": inbox.id,
                    "vps": inbox.vps_id,
                    "payload": payload,
                    "count": count // len(self.inboxes),
                }
                connection.execute(_WAITING, row)
            connection.execute("VACUUM ANALYZE messages")
            connection.execute("CHECKPOINT")


@contextmanager
def running_stores() -> Iterator[Stores]:
    with tempfile.TemporaryDirectory(prefix="penguin-bench-") as name:
        directory = Path(name)
        cluster = EmbeddedPostgres(directory / "postgres", directory / "sockets")
        redis_server = EmbeddedRedis(directory / "redis")
        cluster.start()
        try:
            upgrade(cluster.url(OWNER))
            redis_server.start()
            yield Stores(cluster, redis_server)
        finally:
            redis_server.stop()
            cluster.stop()


@asynccontextmanager
async def running_fleet(stores: Stores) -> AsyncIterator[Fleet]:
    database = Database(stores.cluster.url("penguin_system"))
    redis = connect(stores.redis_server.url)
    try:
        tenant = await make_tenant(database, "Penguin Post")
        servers = [await make_server(database, tenant) for _ in range(SERVERS)]
        inboxes = [await make_inbox(database, tenant, each, limit=_LIMIT) for each in servers for _ in range(_INBOXES)]
        with psycopg.connect(stores.cluster.url(OWNER), autocommit=True) as connection:
            connection.execute(_SUPPRESSIONS, {"tenant": tenant.id, "count": _SUPPRESSED})
        yield Fleet(stores, database, redis, tenant, inboxes)
    finally:
        await redis.aclose()
        await database.close()
