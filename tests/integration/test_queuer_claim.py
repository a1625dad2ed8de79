import asyncio
import uuid
from collections.abc import Mapping
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text

from control_plane.queuer import statements
from control_plane.queuer.allot import Line
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.statements import claim, reclaim, waiting_lines
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant, until_blocked
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of

LEASE = 300


def room(inbox: SomeInbox, places: int, priority: int = 1) -> dict[Line, int]:
    return {Line(inbox.vps_id, priority): places}


async def claim_ids(database: Database, rooms: Mapping[Line, int]) -> list[uuid.UUID]:
    return [send.id for send in await claim(database, rooms, LEASE)]


async def execute(database: Database, statement: str, **parameters: object) -> None:
    async with database.system() as session:
        await session.execute(text(statement), parameters)


async def scalar(database: Database, statement: str, **parameters: object) -> object:
    async with database.system() as session:
        return await session.scalar(text(statement), parameters)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def test_a_claim_takes_the_oldest_there_is_room_for_under_a_lease(
    system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 5)

    leased = await claim(system_database, room(inbox, 3), LEASE)

    assert [send.id for send in leased] == ids[:3]
    assert await states_of(system_database, ids) == ["queued"] * 3 + ["accepted"] * 2
    assert len({send.lease_token for send in leased}) == 3
    assert leased[0].payload == b"Subject: Fish\r\n\r\nHerring.\r\n"
    assert await scalar(system_database, "SELECT lease_token FROM messages WHERE id = :id", id=ids[0]) == (
        leased[0].lease_token
    )


async def test_what_is_not_due_waits(system_database: Database, inbox: SomeInbox) -> None:
    later = await make_sends(system_database, inbox, 1, due_in=timedelta(hours=1))
    now = await make_sends(system_database, inbox, 1)

    assert await claim_ids(system_database, room(inbox, 10)) == now
    assert await states_of(system_database, later) == ["accepted"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tenants SET state = 'suspended'",
        "UPDATE vps_servers SET status = 'deleting'",
        "UPDATE vps_servers SET banned_at = now()",
        "UPDATE inboxes SET status = 'pending_dns'",
        "UPDATE inboxes SET daily_send_limit = 0",
        "UPDATE vps_servers SET clock_offset_ms = 10001",
        "UPDATE vps_servers SET clock_offset_ms = -10001",
        "INSERT INTO pauses (tenant_id) SELECT id FROM tenants",
        "INSERT INTO pauses (tenant_id, vps_id) SELECT tenant_id, id FROM vps_servers",
        "INSERT INTO pauses (tenant_id, inbox_id) SELECT tenant_id, id FROM inboxes",
        "INSERT INTO pauses (tenant_id, priority) SELECT id, 1 FROM tenants",
        "INSERT INTO pauses (priority, by_operator) VALUES (1, true)",
    ],
)
async def test_nothing_is_leased_while_tenant_server_or_inbox_may_not_send(
    system_database: Database, inbox: SomeInbox, change: str
) -> None:
    ids = await make_sends(system_database, inbox, 2)
    await execute(system_database, change)

    if "inbox" not in change:
        assert await waiting_lines(system_database) == []
    assert await claim_ids(system_database, room(inbox, 10)) == []
    assert await states_of(system_database, ids) == ["accepted"] * 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vps_servers SET clock_offset_ms = -9999",
        "INSERT INTO pauses (tenant_id, resumed_at) SELECT id, now() FROM tenants",
        "INSERT INTO pauses (tenant_id) SELECT id FROM tenants WHERE name = 'Walrus Mail'",
        "INSERT INTO pauses (tenant_id, priority) SELECT id, 1 FROM tenants WHERE name = 'Walrus Mail'",
        "INSERT INTO pauses (tenant_id, vps_id) SELECT tenant_id, id FROM vps_servers WHERE hostname <> :hostname",
        "INSERT INTO pauses (tenant_id, inbox_id) SELECT tenant_id, id FROM inboxes WHERE id <> :inbox",
        "INSERT INTO pauses (priority, by_operator) VALUES (0, true)",
    ],
)
async def test_what_is_held_back_elsewhere_or_no_more_is_not_in_the_way(
    system_database: Database, inbox: SomeInbox, other_tenant: SomeTenant, change: str
) -> None:
    other_server = await make_server(system_database, inbox.tenant)
    await make_inbox(system_database, inbox.tenant, other_server)
    ids = await make_sends(system_database, inbox, 2)
    hostname = await scalar(system_database, "SELECT hostname FROM vps_servers WHERE id = :id", id=inbox.vps_id)
    parameters = {name: value for name, value in (("hostname", hostname), ("inbox", inbox.id)) if f":{name}" in change}
    await execute(system_database, change, **parameters)

    assert await waiting_lines(system_database) == [Line(inbox.vps_id, 1)]
    assert await claim_ids(system_database, room(inbox, 10)) == ids


async def test_a_suppressed_recipient_ends_the_send_with_an_event_and_costs_no_allowance(
    system_database: Database, inbox: SomeInbox
) -> None:
    suppressed = await make_sends(system_database, inbox, 1, recipient="Gone@Walrus.example")
    ids = await make_sends(system_database, inbox, 1)
    await execute(
        system_database,
        "INSERT INTO suppressions (tenant_id, address, reason) VALUES (:tenant, 'gone@walrus.example', 'asked')",
        tenant=inbox.tenant.id,
    )

    assert await claim_ids(system_database, room(inbox, 10)) == ids

    assert await states_of(system_database, suppressed) == ["suppressed"]
    kind = "SELECT kind FROM message_events WHERE message_id = :id AND applied"
    assert await scalar(system_database, kind, id=suppressed[0]) == "suppressed"
    assert await scalar(system_database, "SELECT claimed FROM inbox_daily_sends") == 1


@pytest.mark.parametrize(("is_silent", "state"), [(False, "suppressed"), (True, "uncertain")])
async def test_what_was_leased_before_is_called_suppressed_only_when_its_server_was_not_silent_about_it(
    system_database: Database, inbox: SomeInbox, state: str, *, is_silent: bool
) -> None:
    ids = await make_sends(system_database, inbox, 1, recipient="gone@walrus.example")
    await claim_ids(system_database, room(inbox, 10))
    if is_silent:
        await expire_leases(system_database)
        assert await reclaim(system_database, 30) == 1
    else:
        await execute(system_database, "UPDATE messages SET state = 'accepted'")
    await execute(
        system_database,
        "INSERT INTO suppressions (tenant_id, address, reason) VALUES (:tenant, 'gone@walrus.example', 'asked')",
        tenant=inbox.tenant.id,
    )

    assert await claim_ids(system_database, room(inbox, 10)) == []

    assert await states_of(system_database, ids) == [state]
    kind = "SELECT kind FROM message_events WHERE message_id = :id AND kind = :kind"
    assert await scalar(system_database, kind, id=ids[0], kind=state) == state


async def test_the_daily_limit_counts_all_priorities_high_first(system_database: Database, inbox: SomeInbox) -> None:
    await execute(system_database, "UPDATE inboxes SET daily_send_limit = 3")
    low = await make_sends(system_database, inbox, 2, priority=2)
    high = await make_sends(system_database, inbox, 2, priority=0)
    rooms = room(inbox, 10, priority=2) | room(inbox, 10, priority=0)

    assert await claim_ids(system_database, rooms) == [*high, low[0]]
    assert await claim_ids(system_database, rooms) == []


async def test_an_inbox_over_its_limit_is_not_in_the_way_of_another(
    system_database: Database, inbox: SomeInbox
) -> None:
    await execute(system_database, "UPDATE inboxes SET daily_send_limit = 1")
    await make_sends(system_database, inbox, 50)
    other = await make_inbox(system_database, inbox.tenant, inbox.vps_id)
    ids = await make_sends(system_database, other, 2)

    claimed = await claim_ids(system_database, room(inbox, 10)) + await claim_ids(system_database, room(inbox, 10))

    assert set(ids) < set(claimed)
    assert len(claimed) == 3


async def test_a_busy_inbox_leaves_room_for_a_small_one(system_database: Database, inbox: SomeInbox) -> None:
    await make_sends(system_database, inbox, 50)
    small = await make_inbox(system_database, inbox.tenant, inbox.vps_id)
    ids = await make_sends(system_database, small, 2)

    claimed = await claim_ids(system_database, room(inbox, 10))

    assert set(ids) < set(claimed)
    assert len(claimed) == 7


@pytest.mark.parametrize(("divisor", "share"), [(1, 150), (2, 75), (4, 38)])
async def test_queuers_side_by_side_never_lease_one_send_twice_nor_overrun_the_limit_or_a_slowed_servers_share(
    system_database: Database, database: FreshDatabase, inbox: SomeInbox, divisor: int, share: int
) -> None:
    await execute(system_database, "UPDATE inboxes SET daily_send_limit = 150")
    await execute(system_database, "UPDATE vps_servers SET send_divisor = :divisor", divisor=divisor)
    ids = await make_sends(system_database, inbox, 200)
    queuers = [Database(database.url("penguin_system")) for _ in range(4)]

    async def work(queuer: Database) -> list[LeasedSend]:
        return [send for _ in range(12) for send in await claim(queuer, room(inbox, 7), LEASE)]

    leased = [send.id for batch in await asyncio.gather(*map(work, queuers)) for send in batch]
    leased += await claim_ids(system_database, room(inbox, 200))
    for queuer in queuers:
        await queuer.close()

    assert len(leased) == len(set(leased)) == share
    assert (await states_of(system_database, ids)).count("queued") == share
    assert await scalar(system_database, "SELECT claimed FROM inbox_daily_sends") == share


@pytest.mark.parametrize(("limit", "divisor"), [(10, 1), (20, 2), (19, 2)])
async def test_a_queuer_that_counted_at_the_same_moment_leaves_nothing_of_the_limit_to_the_second(
    system_database: Database, database: FreshDatabase, inbox: SomeInbox, limit: int, divisor: int
) -> None:
    await execute(system_database, "UPDATE inboxes SET daily_send_limit = :limit", limit=limit)
    await execute(system_database, "UPDATE vps_servers SET send_divisor = :divisor", divisor=divisor)
    high = await make_sends(system_database, inbox, 8, priority=0)
    normal = await make_sends(system_database, inbox, 8)
    parameters = {
        "vps_ids": [inbox.vps_id],
        "priorities": [0],
        "rooms": [8],
        "lease_seconds": LEASE,
        "clock_tolerance_seconds": statements.CLOCK_TOLERANCE_SECONDS,
        "most_bytes": statements.MOST_BYTES,
    }
    async with await psycopg.AsyncConnection.connect(database.url("penguin_system")) as first:
        await first.execute(statements._CLAIM, parameters)
        # It has seen nothing of the first, and waits for it at the counter.
        second = asyncio.create_task(claim_ids(system_database, room(inbox, 8)))
        await until_blocked(system_database)

    assert await second == []
    assert await states_of(system_database, high) == ["queued"] * 8
    assert await states_of(system_database, normal) == ["accepted"] * 8
    assert await claim_ids(system_database, room(inbox, 8)) == normal[:2]


async def test_a_lease_that_ran_out_is_taken_back_after_the_tolerance_and_not_counted_twice(
    system_database: Database, inbox: SomeInbox
) -> None:
    await execute(system_database, "UPDATE inboxes SET daily_send_limit = 1")
    ids = await make_sends(system_database, inbox, 2)
    first = await claim(system_database, room(inbox, 10), LEASE)
    assert await reclaim(system_database, 30) == 0
    await execute(
        system_database, "UPDATE messages SET lease_deadline = now() - interval '29 s' WHERE state = 'queued'"
    )
    assert await reclaim(system_database, 30) == 0
    await execute(
        system_database, "UPDATE messages SET lease_deadline = now() - interval '31 s' WHERE state = 'queued'"
    )

    assert await reclaim(system_database, 30) == 1

    assert await states_of(system_database, ids) == ["accepted"] * 2
    assert await scalar(system_database, "SELECT kind FROM message_events") == "requeued"
    again = await claim(system_database, room(inbox, 10), LEASE)
    assert [send.id for send in again] == [first[0].id]
    assert again[0].lease_token != first[0].lease_token
    assert again[0].vps_id == first[0].vps_id
    assert await scalar(system_database, "SELECT leases FROM messages WHERE id = :id", id=ids[0]) == 2
    assert await scalar(system_database, "SELECT claimed FROM inbox_daily_sends") == 1


async def test_a_claim_is_bounded_in_bytes_but_always_takes_one(system_database: Database, inbox: SomeInbox) -> None:
    ids = await make_sends(system_database, inbox, 3, payload=b"x" * 10_000_000)

    assert await claim_ids(system_database, room(inbox, 10)) == ids[:2]
    assert await claim_ids(system_database, room(inbox, 10)) == ids[2:]


async def test_waiting_lines_are_those_of_servers_that_may_be_leased_to(
    system_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    await make_sends(system_database, inbox, 2, priority=0)
    await make_sends(system_database, inbox, 1, priority=2)
    elsewhere = await make_server(system_database, other_tenant, status="provisioning")
    await make_sends(system_database, await make_inbox(system_database, other_tenant, elsewhere), 1)

    assert await waiting_lines(system_database) == [Line(inbox.vps_id, 0), Line(inbox.vps_id, 2)]


async def expire_leases(database: Database) -> None:
    await execute(
        database,
        "UPDATE messages SET lease_deadline = now() - interval '31 s', queued_at = now() - interval '331 s'"
        " WHERE state = 'queued'",
    )


async def lease_in_vain(database: Database, inbox: SomeInbox, *, taken_before: str) -> None:
    """Lease, and let the lease run out without word from the server, which was linked."""
    await execute(database, "UPDATE vps_servers SET last_seen_at = now()")
    await claim(database, room(inbox, 10), LEASE)
    await expire_leases(database)
    gone_before = {inbox.vps_id: ("infinity", taken_before, "infinity")}
    assert await reclaim(database, 30, gone_before) == 1


async def test_a_send_that_its_linked_server_took_five_times_without_a_word_is_a_dead_letter(
    system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 1)
    for _ in range(statements.MOST_SILENT_LEASES - 1):
        await lease_in_vain(system_database, inbox, taken_before="infinity")
        assert await states_of(system_database, ids) == ["accepted"]

    await lease_in_vain(system_database, inbox, taken_before="infinity")

    assert await states_of(system_database, ids) == ["dead"]
    why = "its server took it 5 times and never told of it"
    assert await scalar(system_database, "SELECT state_reason FROM messages") == why
    event = "SELECT detail ->> 'detail' FROM message_events WHERE kind = 'dead'"
    assert await scalar(system_database, event) == why
    assert await claim_ids(system_database, room(inbox, 10)) == []


async def test_a_send_that_was_not_taken_or_whose_server_was_not_linked_is_leased_for_ever(
    system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 1)
    for _ in range(statements.MOST_SILENT_LEASES + 1):
        await lease_in_vain(system_database, inbox, taken_before="2000-01-01T00:00:00+00:00")
    for _ in range(statements.MOST_SILENT_LEASES + 1):
        await claim(system_database, room(inbox, 10), LEASE)
        await expire_leases(system_database)
        await execute(system_database, "UPDATE vps_servers SET last_seen_at = now() - interval '1 hour'")
        await reclaim(system_database, 30, {inbox.vps_id: ("infinity",) * 3})

    assert await states_of(system_database, ids) == ["accepted"]
    assert await scalar(system_database, "SELECT silent_leases FROM messages") == 0


async def test_a_server_whose_clock_is_behind_keeps_its_leases_for_as_much_longer(
    system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 1)
    await claim(system_database, room(inbox, 10), LEASE)
    await expire_leases(system_database)
    await execute(system_database, "UPDATE vps_servers SET clock_offset_ms = -5000")
    assert await reclaim(system_database, 30) == 0
    await execute(system_database, "UPDATE vps_servers SET clock_offset_ms = 5000")
    assert await reclaim(system_database, 30) == 1
    assert await states_of(system_database, ids) == ["accepted"]


async def test_what_was_leased_to_a_server_that_is_gone_ends_as_uncertain(
    system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 1)
    await claim(system_database, room(inbox, 10), LEASE)
    await expire_leases(system_database)
    await execute(system_database, "UPDATE vps_servers SET status = 'deleted'")
    assert await reclaim(system_database, 30) == 1
    assert await states_of(system_database, ids) == ["uncertain"]
    assert await scalar(system_database, "SELECT state_reason FROM messages") == "its server was removed"


async def test_a_backlog_that_has_come_since_is_looked_up_and_not_read_through(
    system_database: Database, inbox: SomeInbox
) -> None:
    parameters = {
        "vps_ids": [inbox.vps_id],
        "priorities": [1],
        "rooms": [8],
        "lease_seconds": LEASE,
        "clock_tolerance_seconds": statements.CLOCK_TOLERANCE_SECONDS,
        "most_bytes": statements.MOST_BYTES,
    }
    # On the empty table, as a queuer that has been idle has done.
    for _ in range(6):
        await waiting_lines(system_database)
        await claim(system_database, room(inbox, 8), LEASE)
    await make_sends(system_database, inbox, 5000)
    for statement in (statements._WAITING, statements._CLAIM):
        rows = await statements._fetch(system_database, b"EXPLAIN " + statement, parameters, lookups_only=True)
        plan = "\n".join(row["QUERY PLAN"] for row in rows)
        assert "idx_messages_shared_waiting" in plan
        # Those by inbox would find a tenant's send by reading all of the tenant's.
        for ruinous in (
            "Seq Scan on messages",
            "Hash Join",
            "Merge Join",
            "Bitmap Heap Scan",
            "idx_messages_shared_inbox",
        ):
            assert ruinous not in plan
    cached = "SELECT sum(generic_plans) FROM pg_prepared_statements"
    async with system_database.engine.connect() as connection:
        assert (await connection.execute(text(cached))).scalar() in {0, None}
