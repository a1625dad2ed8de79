"""Filling streams that Redis has forgotten, counted in turns and not in time; and how many bytes they may hold."""

import uuid
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from control_plane.queuer import keys, statements
from control_plane.queuer.allot import Line
from control_plane.queuer.queuer import Limits, Queuer
from control_plane.queuer.refill import Refill
from control_plane.queuer.statements import REFILL_PAGE, claim
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of

#: Pages of the large server, the last of them not full.
PAGES = 4
MANY = (PAGES - 1) * REFILL_PAGE + 10
FEW = 3


async def an_inbox(database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(database, tenant, await make_server(database, tenant))


async def leased_inbox(database: Database, tenant: SomeTenant, count: int) -> SomeInbox:
    """Return an inbox so many sends of which are leased and are nowhere in Redis."""
    inbox = await an_inbox(database, tenant)
    await make_sends(database, inbox, count)
    assert len(await claim(database, {Line(inbox.vps_id, 1): count}, 300)) == count
    return inbox


async def length(redis: Redis, inbox: SomeInbox, priority: int = 1) -> int:
    return await redis.xlen(keys.stream(inbox.vps_id, priority))


async def is_whole(redis: Redis, vps_id: uuid.UUID) -> bool:
    return bool(await redis.exists(keys.epoch(vps_id)))


async def test_a_server_with_much_to_write_again_delays_no_other(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    large = await leased_inbox(system_database, tenant, MANY)
    others = [await leased_inbox(system_database, tenant, FEW) for _ in range(3)]
    refill = Refill(system_database, redis)

    assert await refill.look_at_all() == 0

    for other in others:
        assert await is_whole(redis, other.vps_id)
        assert await length(redis, other) == FEW
    assert not await is_whole(redis, large.vps_id)
    assert await length(redis, large) == REFILL_PAGE


async def test_a_turn_writes_one_page_and_the_last_makes_the_streams_whole_for_good(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    large = await leased_inbox(system_database, tenant, MANY)
    refill = Refill(system_database, redis)

    turns = [await refill.look_at_all() for _ in range(PAGES)]

    assert turns[:-1] == [0] * (PAGES - 1)
    assert turns[-1] > 0
    assert await is_whole(redis, large.vps_id)
    assert await redis.ttl(keys.epoch(large.vps_id)) == -1
    assert await length(redis, large) == MANY


async def test_new_sends_of_other_servers_are_queued_between_the_turns(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    await leased_inbox(system_database, tenant, MANY)
    other = await an_inbox(system_database, tenant)
    refill = Refill(system_database, redis)
    queuer = Queuer(system_database, redis, Limits(lease_seconds=300, lease_tolerance_seconds=30, stream_depth=20))
    for turn in range(1, PAGES):
        await refill.look_at_all()
        await make_sends(system_database, other, 1)
        await queuer.round()
        assert await length(redis, other) == turn


async def test_what_redis_forgets_half_way_is_written_from_the_beginning(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    large = await leased_inbox(system_database, tenant, MANY)
    refill = Refill(system_database, redis)
    for _ in range(PAGES - 1):
        await refill.look_at_all()
    await redis.flushall()
    await redis.xgroup_create(keys.stream(large.vps_id, 1), keys.GROUP, id="0", mkstream=True)

    while await refill.look_at_all() == 0:
        pass

    assert await is_whole(redis, large.vps_id)
    entries: Any = await redis.xrange(keys.stream(large.vps_id, 1))
    assert len({fields[b"e"] for _, fields in entries}) == MANY


async def test_two_queuers_that_fill_at_once_leave_nothing_out(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    large = await leased_inbox(system_database, tenant, MANY)
    first, second = Refill(system_database, redis), Refill(system_database, redis)
    for _ in range(PAGES - 1):
        await first.look_at_all()
    await redis.flushall()
    await second.look_at_all()
    # It has written all but the last page, which Redis has forgotten but for this.
    await first.look_at_all()
    assert not await is_whole(redis, large.vps_id)
    while await second.look_at_all() == 0:
        await first.look_at_all()
    entries: Any = await redis.xrange(keys.stream(large.vps_id, 1))
    assert len({fields[b"e"] for _, fields in entries}) == MANY


# ------------------------------------------------------------ bytes

#: Four of these fill the half of two MiB that the normal priority has.
LARGE = b"x" * 300_000
BYTES = Limits(lease_seconds=300, lease_tolerance_seconds=30, stream_depth=1000, stream_bytes=2 * 1024 * 1024)


async def fill_up(queuer: Queuer) -> None:
    while await queuer.round() == 0:
        pass


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each round lease one send of the first line, so that the bound is met exactly."""
    monkeypatch.setattr(statements, "MOST_BYTES", 1)


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_stream_is_bounded_in_bytes_and_room_that_comes_is_used(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    inbox = await an_inbox(system_database, tenant)
    ids = await make_sends(system_database, inbox, 6, payload=LARGE)
    await Refill(system_database, redis).look_at_all()
    queuer = Queuer(system_database, redis, BYTES)

    await fill_up(queuer)

    assert await states_of(system_database, ids) == ["queued"] * 4 + ["accepted"] * 2
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET state = 'relayed' WHERE id = :id"), {"id": ids[0]})
    await fill_up(queuer)
    assert await states_of(system_database, ids) == ["relayed"] + ["queued"] * 4 + ["accepted"]


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_stream_full_of_bytes_holds_up_neither_other_priorities_nor_other_servers(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    inbox = await an_inbox(system_database, tenant)
    await make_sends(system_database, inbox, 5, payload=LARGE)
    high = await make_sends(system_database, inbox, 1, priority=0, payload=LARGE)
    other = await an_inbox(system_database, tenant)
    elsewhere = await make_sends(system_database, other, 2, payload=LARGE)
    await Refill(system_database, redis).look_at_all()

    await fill_up(Queuer(system_database, redis, BYTES))

    assert await states_of(system_database, [*high, *elsewhere]) == ["queued"] * 3
    assert await length(redis, inbox) == 4


async def test_one_message_larger_than_the_bound_is_leased_and_small_ones_are_bounded_by_number(
    system_database: Database, redis: Redis, tenant: SomeTenant
) -> None:
    inbox = await an_inbox(system_database, tenant)
    [low] = await make_sends(system_database, inbox, 1, priority=2, payload=LARGE)
    small = await make_sends(system_database, inbox, 30, payload=b"x" * 65_536)
    await Refill(system_database, redis).look_at_all()

    await fill_up(Queuer(system_database, redis, BYTES))

    assert await states_of(system_database, [low, *small]) == ["queued"] * 31


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_what_is_bounded_by_number_is_not_read_for_the_bytes(
    system_database: Database, tenant: SomeTenant, owner_url: str, *, is_analyzed: bool
) -> None:
    inbox = await leased_inbox(system_database, tenant, 500)
    if is_analyzed:
        with psycopg.connect(owner_url, autocommit=True) as owner:
            owner.execute("ANALYZE messages")
    parameters = {"vps_ids": [inbox.vps_id], "priorities": [1], "most_bytes": [1]}
    rows = await statements._fetch(system_database, b"EXPLAIN " + statements._HEAVY, parameters, lookups_only=True)
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    assert "idx_messages_shared_leased_large" in plan
    assert "Seq Scan" not in plan
