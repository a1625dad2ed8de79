"""What an operator lets go again, from the database through the real queue, journal and relay, and back."""

import uuid

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from agent.relay.hand import Hand
from agent.relay.sessions import Submitter
from control_plane.delivery.apply import apply_events
from control_plane.queuer.allot import Line
from control_plane.queuer.dead_letters import retry
from control_plane.queuer.statements import claim, reclaim
from control_plane.queuer.streams import write
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of
from tests.integration.relay.life import Kind, Server, desired_state, make_envelope

_MESSAGE = text(
    "UPDATE messages SET signing_domain = 'example.test', payload = convert_to(concat("
    "'From: a@example.test', chr(13), chr(10), 'Message-ID: <', id, '@example.test>', chr(13), chr(10), chr(13),"
    " chr(10), 'Herring.', chr(13), chr(10)), 'UTF8')"
)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant, server: Server) -> SomeInbox:
    """An inbox on the server that the journal and the relay are of."""
    server.vps_id = await make_server(system_database, tenant)
    await server.open_queue()
    return await make_inbox(system_database, tenant, server.vps_id)


async def go_round(database: Database, redis: Redis, inbox: SomeInbox) -> None:
    assert await write(redis, await claim(database, {Line(inbox.vps_id, 1): 10}, 300)) == []


async def apply_told(database: Database, server: Server) -> None:
    told, server.told = server.told, []
    await apply_events(database, server.vps_id, told)


async def retried(database: Database, send_id: uuid.UUID) -> None:
    async with database.system() as session:
        assert await retry(session, [send_id]) == {send_id}


async def test_what_failed_is_submitted_when_an_operator_has_it_tried_again(
    system_database: Database, server: Server, inbox: SomeInbox
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    async with system_database.system() as session:
        await session.execute(_MESSAGE)
    server.applied.set(desired_state("elsewhere.test"))
    async with server.life():
        await go_round(system_database, server.redis, inbox)
        await server.until(lambda: any(event.kind == Kind.KIND_FAILED for event in server.told))
        await apply_told(system_database, server)
    assert await states_of(system_database, [send_id]) == ["failed"]
    assert server.submissions().total() == 0

    server.applied.set(desired_state())
    await retried(system_database, send_id)
    # The journal is the one that has the send as failed.
    async with server.life():
        await go_round(system_database, server.redis, inbox)
        await server.until(lambda: any(event.kind == Kind.KIND_DELIVERED for event in server.told))
        await apply_told(system_database, server)

    assert await states_of(system_database, [send_id]) == ["delivered"]
    assert server.submissions() == {f"<{send_id}@example.test>".encode(): 1}


async def test_a_dead_letter_that_was_submitted_after_all_is_not_submitted_again_when_it_is_retried(
    system_database: Database, server: Server, inbox: SomeInbox
) -> None:
    [send_id] = await make_sends(system_database, inbox, 1)
    async with system_database.system() as session:
        await session.execute(_MESSAGE)
    async with server.life():
        await go_round(system_database, server.redis, inbox)
        await server.until(lambda: any(event.kind == Kind.KIND_DELIVERED for event in server.told))
    # Nothing of this has arrived; the lease runs out, for the last time.
    server.told.clear()
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET lease_deadline = now() - interval '31 s'"))
    assert await reclaim(system_database, 30) == 1
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET state = 'dead'"))

    await retried(system_database, send_id)
    async with server.life():
        await go_round(system_database, server.redis, inbox)
        await server.until(lambda: any(event.kind == Kind.KIND_DELIVERED for event in server.told))
        await apply_told(system_database, server)

    assert await states_of(system_database, [send_id]) == ["delivered"]
    assert server.submissions() == {f"<{send_id}@example.test>".encode(): 1}


async def test_a_lease_that_has_run_out_is_given_back_and_a_relay_that_ignores_it_is_found_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = make_envelope(lease_seconds=-1)
    async with server.life():
        await server.enqueue(late)
        await server.until_told(Kind.KIND_LEASE_EXPIRED, late)
    assert server.submissions().total() == 0

    # As the harness' mutant "lease ignored" does (tests/faults/mutants).
    monkeypatch.setattr(Submitter, "_overdue", lambda *_: False)
    monkeypatch.setattr(Hand, "take_overdue", lambda *_: [])
    again = make_envelope(1, lease_seconds=-1)
    async with server.life():
        await server.enqueue(again)
        await server.until_told(Kind.KIND_DELIVERED, again)
    assert server.submissions().total() == 1
