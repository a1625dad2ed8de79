import uuid
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.queuer import pauses
from control_plane.queuer.allot import Line
from control_plane.queuer.dead_letters import dead_letters, drop, retry
from control_plane.queuer.depth import queue_depth, standing_still
from control_plane.queuer.pauses import Held, PauseInForce, Subject, held_by, pause, pauses_in_force, resume
from control_plane.queuer.statements import claim, waiting_lines
from control_plane.queuer.sweep import Sweep
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def execute(database: Database, statement: str, **parameters: object) -> None:
    async with database.system() as session:
        await session.execute(text(statement), parameters)


async def scalar(database: Database, statement: str, **parameters: object) -> object:
    async with database.system() as session:
        return await session.scalar(text(statement), parameters)


async def make_dead(database: Database, inbox: SomeInbox, count: int) -> list[uuid.UUID]:
    ids = await make_sends(database, inbox, count)
    await execute(
        database,
        "UPDATE messages SET state = 'dead', state_reason = 'no word', leases = 5, silent_leases = 5,"
        " silent_since = now()"
        " WHERE id = ANY(:ids)",
        ids=ids,
    )
    return ids


@pytest.mark.parametrize("subject", list(Subject))
async def test_what_is_paused_waits_and_is_leased_again_when_it_is_resumed(
    system_database: Database, inbox: SomeInbox, subject: Subject
) -> None:
    ids = await make_sends(system_database, inbox, 1)
    names = {
        Subject.VPS: str(inbox.vps_id),
        Subject.INBOX: str(inbox.id),
        Subject.TENANT: str(inbox.tenant.id),
        Subject.PRIORITY: "normal",
    }
    async with system_database.system() as session:
        held = await held_by(session, subject, names[subject])
        await pause(session, held, "for a look", by_operator=True)
        await pause(session, held, "again", by_operator=True)
        [in_force] = await pauses_in_force(session)
    assert (in_force.held, in_force.reason, in_force.by_operator) == (held, "for a look", True)
    assert await claim(system_database, {Line(inbox.vps_id, 1): 5}, 300) == []

    async with system_database.listening("sends_ready") as listening:
        async with system_database.system() as session:
            await resume(session, held, by_operator=True)
            assert await pauses_in_force(session) == []
        driver = (await listening.get_raw_connection()).driver_connection
        assert driver is not None
        assert [note.channel async for note in driver.notifies(timeout=10, stop_after=1)] == ["sends_ready"]
    assert [send.id for send in await claim(system_database, {Line(inbox.vps_id, 1): 5}, 300)] == ids


async def test_a_tenant_and_an_operator_hold_by_pauses_of_their_own(
    system_database: Database, api_database: Database, inbox: SomeInbox
) -> None:
    held = Held(Subject.INBOX, inbox.tenant.id, inbox_id=inbox.id)
    await make_sends(system_database, inbox, 1)
    async with system_database.system() as session:
        await pause(session, held, by_operator=True)
    async with api_database.tenant(inbox.tenant.id) as session:
        with pytest.raises(NotFound):
            await resume(session, held)
        await pause(session, held)
        await resume(session, held)
        assert [each.by_operator for each in await pauses_in_force(session)] == [True]
    assert await claim(system_database, {Line(inbox.vps_id, 1): 5}, 300) == []


async def test_a_pause_that_is_taken_back_while_it_is_asked_for_again_is_a_conflict(
    system_database: Database, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(Subject.INBOX, inbox.tenant.id, inbox_id=inbox.id)
    async with system_database.system() as session:
        await pause(session, held)

    async def after_another_resumed(session: AsyncSession) -> Sequence[PauseInForce]:
        async with system_database.system() as others:
            await resume(others, held)
        return await pauses_in_force(session)

    monkeypatch.setattr(pauses, "pauses_in_force", after_another_resumed)
    async with system_database.system() as session:
        with pytest.raises(Conflict):
            await pause(session, held)


async def test_a_tenant_sees_and_pauses_only_its_own(
    system_database: Database, api_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    async with system_database.system() as session:
        await pause(session, Held(Subject.PRIORITY, None, priority=0), by_operator=True)
        await pause(session, Held(Subject.TENANT, inbox.tenant.id), by_operator=True)
    async with api_database.tenant(other_tenant.id) as session:
        assert await pauses_in_force(session) == []
        for subject, name in (
            (Subject.INBOX, inbox.id),
            (Subject.VPS, inbox.vps_id),
            (Subject.TENANT, inbox.tenant.id),
        ):
            with pytest.raises(NotFound):
                await held_by(session, subject, str(name))


async def test_a_subject_that_cannot_be_meant_is_refused(system_database: Database) -> None:
    async with system_database.system() as session:
        for subject, name in ((Subject.PRIORITY, "urgent"), (Subject.VPS, "mx1")):
            with pytest.raises(InvalidInput):
                await held_by(session, subject, name)
        with pytest.raises(NotFound):
            await resume(session, Held(Subject.PRIORITY, None, priority=0), by_operator=True)


async def test_dead_letters_are_listed_retried_and_dropped(system_database: Database, inbox: SomeInbox) -> None:
    first, second, third = sorted(await make_dead(system_database, inbox, 3))
    [waiting] = await make_sends(system_database, inbox, 1)
    async with system_database.system() as session:
        assert [letter.id for letter in await dead_letters(session, page=2)] == [first, second]
        assert [letter.id for letter in await dead_letters(session, after=second)] == [third]
        assert await retry(session, [first, waiting, uuid.uuid4()]) == {first}
        assert await drop(session, [second, waiting]) == {second}
    assert await states_of(system_database, [first, second, third, waiting]) == [
        *("accepted", "uncertain", "dead", "accepted")
    ]
    kinds = "SELECT string_agg(kind, ' ' ORDER BY kind) FROM message_events WHERE applied"
    assert await scalar(system_database, kinds) == "dropped retried"
    reason = "SELECT state_reason FROM messages WHERE id = :id AND final_at IS NOT NULL"
    assert await scalar(system_database, reason, id=second) == "dropped by an operator; no word"
    leased = await claim(system_database, {Line(inbox.vps_id, 1): 5}, 300)
    assert {send.id for send in leased} == {first, waiting}


async def test_what_failed_is_retried_where_postfix_never_had_it(system_database: Database, inbox: SomeInbox) -> None:
    ids = await make_sends(system_database, inbox, 2)
    await execute(system_database, "UPDATE messages SET state = 'failed', final_at = now()")
    await execute(system_database, "UPDATE messages SET queue_id = '4cY' WHERE id = :id", id=ids[1])
    async with system_database.system() as session:
        assert await retry(session, ids) == {ids[0]}
    assert await scalar(system_database, "SELECT final_at FROM messages WHERE id = :id", id=ids[0]) is None


async def test_a_dead_letter_whose_inbox_goes_is_not_retried(system_database: Database, inbox: SomeInbox) -> None:
    ids = await make_dead(system_database, inbox, 1)
    await execute(system_database, "UPDATE inboxes SET status = 'deleting'")
    async with system_database.system() as session:
        assert await retry(session, ids) == set()


async def test_the_depth_counts_by_tenant_server_and_priority(
    system_database: Database, api_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    await make_sends(system_database, inbox, 3)
    await claim(system_database, {Line(inbox.vps_id, 1): 1}, 300)
    await make_sends(system_database, inbox, 1, priority=0)
    await make_dead(system_database, await make_inbox(system_database, inbox.tenant, inbox.vps_id), 1)
    async with api_database.tenant(inbox.tenant.id) as session:
        high, normal = await queue_depth(session)
    assert (high.priority, high.waiting, high.due, high.leased, high.dead) == (0, 1, 1, 0, 0)
    assert (normal.priority, normal.waiting, normal.due, normal.leased, normal.dead) == (1, 2, 2, 1, 1)
    assert normal.oldest_due is not None
    assert normal.oldest_lease is not None
    async with api_database.tenant(other_tenant.id) as session:
        assert await queue_depth(session) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE tenants SET state = 'suspended'", "the tenant is suspended"),
        ("UPDATE vps_servers SET status = 'deleting'", "the server is deleting"),
        ("UPDATE vps_servers SET banned_at = now()", "the server is banned"),
        ("UPDATE vps_servers SET clock_offset_ms = 61000", "the server's clock is off by 61.0 s"),
        ("UPDATE vps_servers SET last_seen_at = now() - interval '1 h'", "the server is not linked"),
        ("UPDATE inboxes SET status = 'pending_dns'", "the inbox is pending_dns"),
        ("UPDATE inboxes SET daily_send_limit = 0", "the inbox has used its daily limit of 0"),
        ("INSERT INTO pauses (priority, by_operator) VALUES (1, true)", "the priority is paused"),
        ("INSERT INTO pauses (tenant_id) SELECT id FROM tenants", "the tenant is paused"),
        ("INSERT INTO pauses (tenant_id, vps_id) SELECT tenant_id, id FROM vps_servers", "the server is paused"),
        ("INSERT INTO pauses (tenant_id, inbox_id) SELECT tenant_id, id FROM inboxes", "the inbox is paused"),
        ("UPDATE vps_servers SET clock_offset_ms = 1", ""),
    ],
)
async def test_what_stands_still_says_why(system_database: Database, inbox: SomeInbox, change: str, why: str) -> None:
    await make_sends(system_database, inbox, 2)
    await execute(system_database, "UPDATE vps_servers SET last_seen_at = now()")
    await execute(system_database, change)
    async with system_database.system() as session:
        assert [each.why for each in await standing_still(session, 30)] == [why]
        assert await standing_still(session, 3600) == []


@pytest.mark.parametrize(
    ("change", "inbox_is_gone"),
    [
        ("UPDATE inboxes SET status = 'deleting'", True),
        ("UPDATE messages SET inbox_id = NULL", True),
        ("UPDATE vps_servers SET status = 'deleted'", False),
    ],
)
async def test_what_waits_at_removed_inboxes_and_servers_ends(
    system_database: Database, inbox: SomeInbox, change: str, inbox_is_gone: bool
) -> None:
    never_leased = await make_sends(system_database, inbox, 2)
    was_leased = await make_sends(system_database, inbox, 1)
    silence = "UPDATE messages SET leases = 1, silent_since = now() WHERE id = ANY(:ids)"
    await execute(system_database, silence, ids=was_leased)
    dead = await make_dead(system_database, inbox, 1)
    await execute(system_database, change)
    other_inbox = await make_inbox(system_database, inbox.tenant, await make_server(system_database, inbox.tenant))
    other = await make_sends(system_database, other_inbox, 1)

    await Sweep(system_database).look_at_all()

    assert await states_of(system_database, [*never_leased, *was_leased, *dead, *other]) == [
        *("cancelled", "cancelled", "uncertain", "uncertain", "accepted")
    ]
    why = "its inbox was removed" if inbox_is_gone else "its server was removed"
    assert await scalar(system_database, "SELECT count(*) FROM messages WHERE state_reason = :why", why=why) == 4
    assert await scalar(system_database, "SELECT count(*) FROM message_events") == 4


async def test_what_postfix_had_for_too_long_ends_as_uncertain(system_database: Database, inbox: SomeInbox) -> None:
    ids = await make_sends(system_database, inbox, 2)
    await execute(system_database, "UPDATE messages SET state = 'relayed', relayed_at = now() - interval '191 hours'")
    await execute(
        system_database, "UPDATE messages SET relayed_at = now() - interval '193 hours' WHERE id = :id", id=ids[0]
    )
    sweep = Sweep(system_database)
    await sweep.look_at_all()
    assert await states_of(system_database, ids) == ["uncertain", "relayed"]

    await execute(system_database, "UPDATE vps_servers SET status = 'deleted'")
    await sweep.look_at_all()
    assert await states_of(system_database, ids) == ["uncertain", "uncertain"]
    assert await waiting_lines(system_database) == []


async def test_the_sweep_tells_each_reason_once(
    system_database: Database, inbox: SomeInbox, caplog: pytest.LogCaptureFixture
) -> None:
    await make_sends(system_database, inbox, 1)
    await execute(system_database, "UPDATE messages SET send_at = now() - interval '1 hour'")
    await execute(system_database, "UPDATE tenants SET state = 'suspended'")
    sweep = Sweep(system_database)
    for _ in range(2):
        await sweep.look_at_all()
    assert [record.message for record in caplog.records if "suspended" in record.message] == [
        "1 more inboxes have had something due for minutes: the tenant is suspended, the server is not linked"
    ]
