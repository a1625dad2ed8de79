import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError
from sqlalchemy import text

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.queuer import access, keys
from control_plane.queuer import queuer as queuer_module
from control_plane.queuer.allot import Line
from control_plane.queuer.queuer import Limits, Queuer
from control_plane.queuer.refill import Refill
from control_plane.queuer.statements import claim
from control_plane.queuer.streams import connect, write
from db.session import Database
from protos.agent.v1.link_pb2 import QueueAccess
from protos.queue.v1.envelope_pb2 import Envelope
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of

LIMITS = Limits(lease_seconds=300, lease_tolerance_seconds=30, stream_depth=20)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
async def tests_own(database: FreshDatabase) -> AsyncIterator[Database]:
    """Connections that the part under test does not share."""
    opened = Database(database.url("penguin_system"))
    yield opened
    await opened.close()


@asynccontextmanager
async def running(queuer: Queuer) -> AsyncIterator[None]:
    task = asyncio.create_task(queuer.run())
    try:
        yield
    finally:
        queuer.stop()
        await task


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something that another task does has happened; the suite's time limit ends a vain wait."""
    async with asyncio.timeout(20):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def envelopes(redis: Redis, vps_id: uuid.UUID, priority: int = 1) -> list[Envelope]:
    entries: Any = await redis.xrange(keys.stream(vps_id, priority))
    return [Envelope.FromString(fields[b"e"]) for _, fields in entries]


async def all_envelopes(redis: Redis, vps_id: uuid.UUID) -> dict[tuple[int, bytes], Envelope]:
    """Return the envelopes of all priorities by priority and send."""
    return {
        (priority, envelope.send_id): envelope
        for priority in range(3)
        for envelope in await envelopes(redis, vps_id, priority)
    }


async def sent_ids(redis: Redis, vps_id: uuid.UUID, priority: int = 1) -> list[uuid.UUID]:
    return [uuid.UUID(bytes=envelope.send_id) for envelope in await envelopes(redis, vps_id, priority)]


async def take(redis: Redis, vps_id: uuid.UUID, priority: int = 1) -> list[uuid.UUID]:
    """Read, acknowledge and delete like an agent, and return the sends."""
    name = keys.stream(vps_id, priority)
    answer: Any = await redis.xreadgroup(keys.GROUP, "c", {name: ">"}, count=1000)
    entries = [entry for _, batch in answer for entry in batch]
    for entry_id, _ in entries:
        await redis.xack(name, keys.GROUP, entry_id)
        await redis.xdel(name, entry_id)
    return [uuid.UUID(bytes=Envelope.FromString(fields[b"e"]).send_id) for _, fields in entries]


async def test_an_accepted_send_reaches_its_stream_as_an_envelope(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    async with running(Queuer(system_database, redis, LIMITS)):
        ids = await make_sends(system_database, inbox, 1)
        async with system_database.system() as session:
            await session.execute(text("SELECT pg_notify('sends_ready', '')"))
        await eventually(lambda: has_length(redis, inbox.vps_id, 1))

    [envelope] = await envelopes(redis, inbox.vps_id)
    async with system_database.system() as session:
        row = (await session.execute(text("SELECT * FROM messages"))).one()
    assert envelope.send_id == ids[0].bytes
    assert envelope.lease_token == row.lease_token.bytes
    assert envelope.lease_deadline_ms == int(row.lease_deadline.timestamp() * 1000)
    assert (envelope.envelope_sender, envelope.recipient) == ("a@penguin.example", "b@walrus.example")
    assert (envelope.message, envelope.signing_domain) == (row.payload, "penguin.example")


async def has_length(redis: Redis, vps_id: uuid.UUID, length: int, priority: int = 1) -> bool:
    return await redis.xlen(keys.stream(vps_id, priority)) == length


async def test_a_full_stream_holds_up_neither_other_servers_nor_other_priorities(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 30)
    high = await make_sends(system_database, inbox, 1, priority=0)
    low = await make_sends(system_database, inbox, 1, priority=2)
    other = await make_inbox(system_database, inbox.tenant, await make_server(system_database, inbox.tenant))
    elsewhere = await make_sends(system_database, other, 2)
    queuer = Queuer(system_database, redis, LIMITS)
    await Refill(system_database, redis).look_at_all()

    while await queuer.round() == 0:
        pass

    assert len(await sent_ids(redis, inbox.vps_id)) == 10
    assert await sent_ids(redis, inbox.vps_id, priority=0) == high
    assert await sent_ids(redis, inbox.vps_id, priority=2) == low
    assert await sent_ids(redis, other.vps_id) == elsewhere


async def test_room_that_the_agent_makes_is_filled_in_order(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 25)
    taken: list[uuid.UUID] = []

    async def all_taken() -> bool:
        taken.extend(await take(redis, inbox.vps_id))
        return len(taken) == len(ids)

    await Refill(system_database, redis).look_at_all()
    async with running(Queuer(system_database, redis, LIMITS)):
        await eventually(all_taken)

    assert taken == ids


async def test_what_redis_forgot_is_written_again_under_the_same_lease(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 3)
    await make_sends(system_database, inbox, 2, priority=0)
    async with running(Queuer(system_database, redis, LIMITS)):
        await eventually(lambda: has_length(redis, inbox.vps_id, 3))
        await eventually(lambda: has_length(redis, inbox.vps_id, 2, priority=0))
        before = await all_envelopes(redis, inbox.vps_id)

        await redis.flushall()
        await eventually(lambda: has_length(redis, inbox.vps_id, 3))
        await eventually(lambda: has_length(redis, inbox.vps_id, 2, priority=0))

    assert await all_envelopes(redis, inbox.vps_id) == before
    assert len(await take(redis, inbox.vps_id)) == 3


async def test_a_lease_past_its_deadline_is_not_written_again(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 1)
    refill = Refill(system_database, redis)
    await refill.look_at_all()
    await Queuer(system_database, redis, LIMITS).round()
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET lease_deadline = now() - interval '1 s'"))

    await redis.flushall()
    await refill.look_at_all()

    assert await has_length(redis, inbox.vps_id, 0)


async def test_an_envelope_that_a_dead_queuer_never_wrote_is_written_once_the_streams_stand_empty(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 1)
    now = 0.0
    refill = Refill(system_database, redis, monotonic=lambda: now)
    await refill.look_at_all()
    await Queuer(system_database, redis, LIMITS).round()
    await take(redis, inbox.vps_id)
    await refill.look_at_all()
    assert await has_length(redis, inbox.vps_id, 0)
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET queued_at = queued_at - interval '1 minute'"))

    await refill.look_at_all()
    assert await take(redis, inbox.vps_id) == ids
    await refill.look_at_all()
    assert await has_length(redis, inbox.vps_id, 0)
    now = 61.0
    await refill.look_at_all()
    assert await take(redis, inbox.vps_id) == ids


async def test_an_envelope_that_a_dead_queuer_never_wrote_is_written_when_later_ones_stand_first(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    [lost] = await make_sends(system_database, inbox, 1)
    refill = Refill(system_database, redis)
    await refill.look_at_all()
    await claim(system_database, {Line(inbox.vps_id, 1): 1}, LIMITS.lease_seconds)
    async with system_database.system() as session:
        await session.execute(
            text("UPDATE messages SET queued_at = now() - interval '20 s', lease_deadline = now() + interval '280 s'")
        )
    later = await make_sends(system_database, inbox, 2)
    await Queuer(system_database, redis, LIMITS).round()

    await refill.look_at_all()
    await refill.look_at_all()

    assert await take(redis, inbox.vps_id) == [*later, lost]


async def test_what_stands_in_the_stream_is_not_written_twice(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 3)
    refill = Refill(system_database, redis)
    await refill.look_at_all()
    await Queuer(system_database, redis, LIMITS).round()
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET queued_at = now() - interval '20 s'"))

    await refill.look_at_all()

    assert await take(redis, inbox.vps_id) == ids


async def test_a_lease_that_runs_out_counts_as_silent_only_when_its_envelope_was_taken(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 2)
    await Refill(system_database, redis).look_at_all()
    queuer = Queuer(system_database, redis, LIMITS)
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET last_seen_at = now() + interval '1 s'"))
    for is_taken in (False, True):
        # Past its deadline and the tolerance from the start.
        await write(redis, await claim(system_database, {Line(inbox.vps_id, 1): 2}, lease_seconds=-31))
        if is_taken:
            await redis.delete(*keys.streams(inbox.vps_id))
        await queuer.take_back()
        async with system_database.system() as session:
            assert await session.scalar(text("SELECT sum(silent_leases) FROM messages")) == 2 * is_taken


async def test_while_redis_is_away_nothing_is_leased_and_after_it_comes_back_all_goes_on(
    system_database: Database, tmp_path: Path, inbox: SomeInbox
) -> None:
    server = EmbeddedRedis(tmp_path / "r")
    server.start()
    client = connect(server.url)
    try:
        ids = await make_sends(system_database, inbox, 2)
        async with running(Queuer(system_database, client, LIMITS)):
            await eventually(lambda: has_length(client, inbox.vps_id, 2))
            server.stop()
            more = await make_sends(system_database, inbox, 2, due_in=timedelta(seconds=1))
            server.start()
            await eventually(lambda: has_length(client, inbox.vps_id, 4))
        assert set(await sent_ids(client, inbox.vps_id)) == {*ids, *more}
    finally:
        await client.aclose()
        server.stop()


async def test_a_queuer_goes_on_after_its_database_connections_were_cut(
    system_database: Database, tests_own: Database, redis: Redis, inbox: SomeInbox
) -> None:
    async with running(Queuer(system_database, redis, LIMITS)):
        await eventually(lambda: exists(redis, keys.epoch(inbox.vps_id)))
        async with tests_own.system() as session:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            await session.execute(text(f"{cut} AND usename = current_user AND datname = current_database()"))
        ids = await make_sends(tests_own, inbox, 1)
        await eventually(lambda: has_length(redis, inbox.vps_id, 1))
    assert await states_of(tests_own, ids) == ["queued"]


async def exists(redis: Redis, key: str) -> bool:
    return bool(await redis.exists(key))


def connect_as(granted: QueueAccess, redis: Redis) -> Redis:
    socket = redis.connection_pool.connection_kwargs["path"]
    return connect(f"unix://{granted.username}:{granted.password}@{socket}")


async def test_an_agent_reaches_its_own_streams_with_the_commands_it_needs_and_nothing_else(
    redis_server: EmbeddedRedis, redis: Redis
) -> None:
    vps_id, other = uuid.uuid4(), uuid.uuid4()
    [granted] = await access.grant(redis, [vps_id], "10.77.0.1:7379", b"pem")
    await redis.xgroup_create(keys.stream(vps_id, 1), keys.GROUP, "0", mkstream=True)
    agent = connect_as(granted, redis)

    assert await take(agent, vps_id) == []
    assert await agent.xlen(keys.stream(vps_id, 1)) == 0
    for forbidden in (
        agent.xlen(keys.stream(other, 1)),
        agent.xadd(keys.stream(vps_id, 1), {"e": b""}),
        agent.get(keys.epoch(vps_id)),
        agent.flushall(),
        agent.acl_list(),
    ):
        with pytest.raises(NoPermissionError):
            await forbidden
    await agent.aclose()

    await access.revoke(redis, vps_id)
    assert not await redis.exists(*keys.streams(vps_id))
    late = connect_as(granted, redis)
    with pytest.raises(RedisConnectionError, match="invalid username-password"):
        await late.ping()
    await late.aclose()
    [again] = await access.grant(redis, [vps_id], "10.77.0.1:7379", b"pem")
    assert again.password != granted.password
    await redis.acl_deluser(again.username)


async def test_servers_that_are_gone_or_banned_lose_the_queue_and_others_keep_it(
    system_database: Database, redis: Redis, inbox: SomeInbox
) -> None:
    banned = await make_server(system_database, inbox.tenant)
    gone = uuid.uuid4()
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET banned_at = now() WHERE id = :id"), {"id": banned})
    await access.grant(redis, [inbox.vps_id, banned, gone], "10.77.0.1:7379", b"pem")
    await redis.acl_setuser("vps-of-somebody-else", reset=True)

    await Queuer(system_database, redis, LIMITS).revoke()

    left = {user.decode() if isinstance(user, bytes) else user for user in await redis.acl_users()}
    assert left == {"default", "vps-of-somebody-else", access.username(inbox.vps_id)}
    await redis.acl_deluser("vps-of-somebody-else", access.username(inbox.vps_id))


async def test_streams_that_could_not_be_taken_away_are_taken_away_the_next_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(*_: str) -> None:
        raise RedisConnectionError

    async def nobody() -> list[uuid.UUID]:
        return []

    gone = uuid.uuid4()
    await access.grant(redis, [gone], "10.77.0.1:7379", b"pem")
    await redis.xadd(keys.stream(gone, 1), {keys.FIELD: b"what a tenant wrote"})
    with monkeypatch.context() as during:
        during.setattr(redis, "delete", cut)
        with pytest.raises(RedisConnectionError):
            await access.revoke_others(redis, nobody)
    await access.revoke_others(redis, nobody)
    assert await redis.keys() == []


async def test_a_full_batch_is_written_beside_the_next_claim_and_nothing_stays_in_hand(
    system_database: Database, redis: Redis, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queuer_module, "_BATCH", 2)
    ids = await make_sends(system_database, inbox, 5)
    await Refill(system_database, redis).look_at_all()
    queuer = Queuer(system_database, redis, LIMITS)

    await queuer.round()
    assert await sent_ids(redis, inbox.vps_id) == []
    await queuer.round()
    assert await sent_ids(redis, inbox.vps_id) == ids[:2]
    await queuer.round()
    assert await sent_ids(redis, inbox.vps_id) == ids


async def test_what_is_in_hand_counts_as_in_its_stream(
    system_database: Database, redis: Redis, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queuer_module, "_BATCH", 6)
    ids = await make_sends(system_database, inbox, 30)
    await Refill(system_database, redis).look_at_all()
    queuer = Queuer(system_database, redis, LIMITS)

    for _ in range(3):
        await queuer.round()

    assert await has_length(redis, inbox.vps_id, 10)
    assert (await states_of(system_database, ids)).count("queued") == 10
