"""After a restore no send is lost and none is repeated: real PostgreSQL, real log, real SQL, real journals of agents.

PostgreSQL is killed and its data directory removed while sends are in every state. What each server's Postfix took is
counted; Postfix and the journals live on, as they do when only the control plane's machine is lost.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from control_plane.backups import after_restore
from control_plane.backups.after_restore import release
from control_plane.backups.restore import Restored, restore
from control_plane.backups.segments import make_slot, receive
from control_plane.backups.vault import Vault
from control_plane.clock import utc_now
from control_plane.delivery.apply import apply_events
from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.queuer import statements
from control_plane.queuer.refill import Refill
from control_plane.queuer.streams import connect, write
from db.migrations.run import upgrade
from db.session import Database
from tests.integration.database import make_tenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of
from tests.integration.send_life.postfix import Outcome, Treatment
from tests.integration.send_life.server import Phase, Server

LEASE = 300
PRIORITY = 1
ROUNDS = 4
#: By its Message-ID a send is known in Postfix's log.
_WRITTEN = text(
    "UPDATE messages SET payload = convert_to(format(E'Message-ID: <%s@penguin.example>\r\n\r\nHerring.\r\n', id),"
    " 'UTF8') WHERE id = ANY(:ids)"
)


@dataclass
class Installation:
    """A control plane's database and queue, and one server with its journal and Postfix."""

    state: Path
    postgres: EmbeddedPostgres
    redis: Redis
    database: Database = field(init=False)
    inbox: SomeInbox = field(init=False)
    server: Server = field(init=False)
    sends: list[uuid.UUID] = field(default_factory=list)
    receiver: subprocess.Popen[bytes] | None = None

    @property
    def vault(self) -> Vault:
        return Vault(self.state)

    async def begin(self) -> None:
        self.database = Database(self.postgres.url("penguin_system"))
        tenant = await make_tenant(self.database, "Penguin Post")
        vps_id = await make_server(self.database, tenant)
        self.inbox = await make_inbox(self.database, tenant, vps_id)
        self.server = self.fresh_server()

    def fresh_server(self) -> Server:
        """Return the server with a journal that knows nothing, as one that was rebuilt has."""
        journal = self.state / f"journal-{uuid.uuid4()}.sqlite"
        return Server(self.redis, self.inbox.vps_id, journal, utc_now)

    def follow(self) -> None:
        """Have commits wait until the log is received."""
        url = self.postgres.url(OWNER)
        self.vault.make()
        make_slot(url, self.vault.segments)
        self.receiver = receive(url, self.vault.segments, self.vault.log)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'pg_receivewal'")
            connection.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + 30
            while not connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone():
                assert time.monotonic() < deadline, self.vault.log.read_text()

    async def accept(self, count: int) -> list[uuid.UUID]:
        ids = await make_sends(self.database, self.inbox, count)
        async with self.database.system() as session:
            await session.execute(_WRITTEN, {"ids": ids})
        self.sends += ids
        return ids

    async def lease(self, room: int) -> None:
        lines = await statements.waiting_lines(self.database)
        if lines:
            leased = await statements.claim(self.database, dict.fromkeys(lines, room), LEASE)
            assert await write(self.redis, leased) == []

    async def relay(self, count: int) -> None:
        """Have Postfix take so many of what is in hand."""
        for send_id in self.server.in_phase(Phase.WAITING)[:count]:
            await self.server.begin(send_id)
            if send_id in self.server.hand:
                await self.server.hand_over(send_id, Treatment.TAKEN)
                await self.server.conclude(send_id)
        await self.server.follow_log(self.server.unread_lines)

    async def deliver(self) -> None:
        """Have the remote side take all that Postfix has."""
        for queue_id in list(self.server.postfix.queue):
            self.server.postfix.attempt(queue_id, Outcome.SENT, self.server.now_ms())
        await self.server.follow_log(self.server.unread_lines)

    async def tell(self) -> None:
        while events := await self.server.unconfirmed():
            told = await apply_events(self.database, self.server.vps_id, events)
            await self.server.journal.confirm(told.event_ids, told.closed_send_ids)

    async def go_on(self) -> None:
        """Do what all parts do, until nothing is left to do."""
        for _ in range(ROUNDS):
            await Refill(self.database, self.redis).look_at_all()
            await self.lease(100)
            await self.server.take(PRIORITY)
            await self.server.take(PRIORITY)
            await self.relay(100)
            await self.deliver()
            await self.tell()

    async def bring_into_every_state(self) -> None:
        """Deliver and close two; leave two with Postfix, two in the server's hand, two in the stream, two waiting."""
        await Refill(self.database, self.redis).look_at_all()
        await self.accept(6)
        await self.lease(6)
        # First what was read before and not acknowledged, then what is new.
        await self.server.take(PRIORITY)
        await self.server.take(PRIORITY)
        await self.relay(2)
        await self.deliver()
        await self.tell()
        await self.relay(2)
        await self.tell()
        await self.accept(2)
        await self.lease(2)
        await self.accept(2)

    async def lose(self) -> None:
        """Kill PostgreSQL and remove its data directory."""
        await self.database.close()
        pid = int((self.state / "postgres/postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        self.postgres.stop()
        self.end_receiver()
        shutil.rmtree(self.state / "postgres")

    def end_receiver(self) -> None:
        if self.receiver is not None:
            self.receiver.terminate()
            self.receiver.wait(20)
            self.receiver = None

    def restore(self) -> Restored:
        restored = restore(self.vault, self.state / "postgres")
        self.postgres.start()
        with psycopg.connect(self.postgres.url(OWNER), autocommit=True) as connection:
            # There is no receiver any more for commits to wait for.
            connection.execute("SET synchronous_commit = local")
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")
        self.database = Database(self.postgres.url("penguin_system"))
        return restored

    async def release(self, *forgetful: uuid.UUID) -> tuple[bool, int]:
        async with self.database.system() as session:
            return await release(session, forgetful)

    async def states(self) -> list[str]:
        return await states_of(self.database, self.sends)

    def accepted(self) -> list[int]:
        """Return how often Postfix was given each send."""
        return [self.server.postfix.accepted[send_id.bytes] for send_id in self.sends]


@pytest.fixture
def state() -> Iterator[Path]:
    """A short path; a socket's must be."""
    with tempfile.TemporaryDirectory(prefix="penguin-restored-") as path:
        yield Path(path)


@pytest.fixture
async def installation(state: Path, redis_server: EmbeddedRedis) -> AsyncIterator[Installation]:
    postgres = EmbeddedPostgres(state / "postgres", state / "sockets")
    postgres.start()
    upgrade(postgres.url(OWNER))
    redis = connect(redis_server.url)
    await redis.flushall()
    running = Installation(state, postgres, redis)
    await running.begin()
    yield running
    running.server.close()
    running.end_receiver()
    await running.database.close()
    await redis.aclose()
    postgres.stop()


async def test_with_its_whole_log_the_database_goes_on_and_nothing_is_held(installation: Installation) -> None:
    installation.follow()
    installation.vault.back_up(installation.postgres.url(OWNER))
    await installation.bring_into_every_state()
    before = await installation.states()
    await installation.lose()

    restored = installation.restore()

    assert restored.is_whole
    assert restored.held == 0
    assert await installation.states() == before
    assert set(before) == {"accepted", "queued", "relayed", "delivered"}
    await installation.go_on()
    assert await installation.states() == ["delivered"] * len(before)
    assert installation.accepted() == [1] * len(before)


async def lose_what_came_after_a_backup(installation: Installation) -> None:
    """Restore to a moment when sends were in every state, after which all were delivered, and closed."""
    await installation.bring_into_every_state()
    installation.vault.back_up(installation.postgres.url(OWNER))
    await installation.go_on()
    assert await installation.states() == ["delivered"] * len(installation.sends)
    await installation.lose()


async def test_to_an_older_moment_all_is_held_and_the_servers_then_tell_what_became_of_it(
    installation: Installation,
) -> None:
    await lose_what_came_after_a_backup(installation)

    restored = installation.restore()

    assert not restored.is_whole
    assert restored.held == 8
    assert await statements.waiting_lines(installation.database) == []
    await installation.go_on()
    assert (await installation.states()).count("accepted") == 8
    assert await installation.release() == (True, 0)
    await installation.go_on()
    assert await installation.states() == ["delivered"] * 10
    assert installation.accepted() == [1] * 10


async def test_what_a_rebuilt_server_had_ends_as_uncertain_when_the_operator_says_so(
    installation: Installation,
) -> None:
    await lose_what_came_after_a_backup(installation)
    given = installation.server.postfix
    installation.server.close()
    installation.server = installation.fresh_server()
    installation.server.postfix.accepted = given.accepted
    installation.restore()

    assert await installation.release(installation.inbox.vps_id) == (True, 8)

    await installation.go_on()
    assert sorted(await installation.states()) == ["delivered"] * 2 + ["uncertain"] * 8
    assert installation.accepted() == [1] * 10


async def test_without_the_hold_a_rebuilt_server_repeats_what_it_cannot_remember(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail: this is what the hold is for."""
    await lose_what_came_after_a_backup(installation)
    given = installation.server.postfix
    installation.server.close()
    installation.server = installation.fresh_server()
    installation.server.postfix.accepted = given.accepted
    monkeypatch.setattr(after_restore, "_HOLD", "SELECT %s::text")

    installation.restore()

    await installation.go_on()
    assert sorted(installation.accepted()) == [1] * 2 + [2] * 8


async def test_under_a_number_that_the_forgotten_time_gave_the_server_does_not_answer(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail: this is what asking beyond every number is for."""
    await lose_what_came_after_a_backup(installation)
    monkeypatch.setattr(after_restore, "BEYOND", 0)
    installation.restore()
    await installation.release()

    await installation.go_on()

    assert "queued" in await installation.states()
    assert installation.accepted() == [1] * 10
