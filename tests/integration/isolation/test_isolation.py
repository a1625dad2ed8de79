"""Tenants move to partitions of their own and back: nothing is lost, nothing is there twice, nobody waits for long."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest
from sqlalchemy import event, text

from control_plane.errors import Conflict, NotFound, Unavailable
from control_plane.messages.resend import resend
from control_plane.privacy.end_of_tenant import begin_erasure, erase_tenant
from control_plane.tenancy import briefly, isolation
from control_plane.tenancy.isolation import HOLD, LARGEST, SMALLEST, isolate_tenant, next_page, rejoin_tenant
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.isolation.moving import SHARED, Traffic, digests, going_on, own, places, settle
from tests.integration.mail_rows import SomeInbox, make_sends

_SCHEMAS = text("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant\\_%'")
_UNCERTAIN = text("UPDATE messages SET state = 'uncertain', final_at = now() WHERE id = :id")


def nobody(_: int, __: int) -> None:
    """Hear how far it has come, and do nothing."""


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "LARGEST", SMALLEST)


async def test_a_tenant_moves_with_all_it_has_and_another_stays(
    owner_database: Database, system_database: Database, inbox: SomeInbox, other_inbox: SomeInbox
) -> None:
    for each in (inbox, other_inbox):
        await make_sends(system_database, each, 25)
        await settle(system_database, each, 15)
    mine, theirs = inbox.tenant.id, other_inbox.tenant.id
    before = [await digests(system_database, each) for each in (mine, theirs)]
    heard: list[tuple[int, int]] = []

    moved = await isolate_tenant(owner_database, system_database, mine, lambda *told: heard.append(told))

    assert (moved.sends, heard[-1]) == (25, (25, 25))
    assert await places(system_database, mine) == own(mine)
    assert await places(system_database, theirs) == SHARED
    assert [await digests(system_database, each) for each in (mine, theirs)] == before
    assert (await isolate_tenant(owner_database, system_database, mine, nobody)).sends == 0
    assert len(await settle(system_database, inbox)) == 10
    assert await places(system_database, mine) == own(mine)


async def test_a_tenant_comes_back_and_leaves_nothing(
    owner_database: Database, system_database: Database, inbox: SomeInbox
) -> None:
    tenant = inbox.tenant.id
    await isolate_tenant(owner_database, system_database, tenant, nobody)
    await make_sends(system_database, inbox, 25)
    await settle(system_database, inbox, 15)
    before = await digests(system_database, tenant)

    assert (await rejoin_tenant(owner_database, system_database, tenant, nobody)).sends == 25

    assert await places(system_database, tenant) == SHARED
    assert await digests(system_database, tenant) == before
    async with system_database.system() as session:
        assert await session.scalar(_SCHEMAS) == 0
    assert len(await settle(system_database, inbox)) == 10


async def test_it_moves_while_it_sends_and_another_does(
    owner_database: Database,
    system_database: Database,
    api_database: Database,
    inbox: SomeInbox,
    other_inbox: SomeInbox,
) -> None:
    old = await make_sends(system_database, inbox, 100)
    streams = [Traffic(api_database, system_database, each) for each in (inbox, other_inbox)]
    async with going_on(*streams):
        await isolate_tenant(owner_database, system_database, inbox.tenant.id, nobody)
        await rejoin_tenant(owner_database, system_database, inbox.tenant.id, nobody)

    for stream, more in zip(streams, (old, []), strict=True):
        sends = sorted([*more, *stream.accepted])
        assert len(stream.accepted) > 10
        assert sorted(stream.settled) == sends
        assert await _story(system_database, stream.inbox.tenant.id) == [
            (each, "delivered", ["delivered", "relayed"]) for each in sends
        ]
    assert await places(system_database, inbox.tenant.id) == SHARED
    assert await places(system_database, other_inbox.tenant.id) == SHARED


@pytest.mark.usefixtures("small_pages")
async def test_cut_off_at_any_statement_it_loses_nothing_and_is_gone_on_with(
    owner_database: Database, system_database: Database, inbox: SomeInbox
) -> None:
    tenant = inbox.tenant.id
    await make_sends(system_database, inbox, 25)
    await settle(system_database, inbox, 15)
    before = await digests(system_database, tenant)
    for move, there in ((isolate_tenant, own(tenant)), (rejoin_tenant, SHARED)):
        for most in count(1):
            with cut_off_after(most, owner_database, system_database) as cut, suppress(CutOff):
                await move(owner_database, system_database, tenant, nobody)
            assert await digests(system_database, tenant) == before
            if not cut:
                break
        assert most > 12
        assert await places(system_database, tenant) == there


async def test_what_sends_another_again_moves_with_it_and_is_sent_once(
    owner_database: Database, system_database: Database, api_database: Database, inbox: SomeInbox
) -> None:
    scope = TenantScope(inbox.tenant.id, EVERYTHING)
    chain = await make_sends(system_database, inbox, 1)

    async def send_last_again() -> uuid.UUID:
        async with system_database.system() as session:
            await session.execute(_UNCERTAIN, {"id": chain[-1]})
        async with api_database.tenant(inbox.tenant.id) as session:
            return (await resend(session, scope, chain[-1])).id

    chain.append(await send_last_again())
    chain.append(await send_last_again())
    async with system_database.system() as session:
        await session.execute(isolation._TURN, {"tenant": inbox.tenant.id, "isolated": True})
    # Where new sends go already, but not this one.
    chain.append(await send_last_again())
    await isolate_tenant(owner_database, system_database, inbox.tenant.id, nobody)
    assert await places(system_database, inbox.tenant.id) == {f"tenant_{inbox.tenant.id.hex}.messages"}
    async with api_database.tenant(inbox.tenant.id) as session:
        with pytest.raises(Conflict, match="sent again already"):
            await resend(session, scope, chain[0])
    async with system_database.system() as session:
        resent = {row[0]: row[1] for row in await session.execute(text("SELECT resend_of, id FROM messages"))}
    assert [resent.get(each) for each in chain] == [*chain[1:], None]


async def test_while_somebody_writes_for_long_it_waits_and_others_do_not(
    owner_database: Database, system_database: Database, inbox: SomeInbox
) -> None:
    await make_sends(system_database, inbox, 5)
    async with system_database.system() as slow:
        await slow.execute(text("UPDATE messages SET subject = 'Slow' WHERE tenant_id = :t"), {"t": inbox.tenant.id})
        moving = asyncio.create_task(isolate_tenant(owner_database, system_database, inbox.tenant.id, nobody))
        waits = []
        for _ in range(5):
            began = time.monotonic()
            await make_sends(system_database, inbox, 1)
            waits.append(time.monotonic() - began)
        assert not moving.done()
    assert max(waits) < 3 * briefly.MOST_MS / 1000
    await moving
    assert await places(system_database, inbox.tenant.id) == {f"tenant_{inbox.tenant.id.hex}.messages"}


async def test_when_a_lock_is_never_free_it_gives_up_and_says_so(
    owner_database: Database, system_database: Database, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(briefly, "MOST_TRIES", 2)
    await make_sends(system_database, inbox, 1)
    async with system_database.system() as slow:
        await slow.execute(text("SELECT FROM messages FOR UPDATE"))
        with pytest.raises(Unavailable):
            await isolate_tenant(owner_database, system_database, inbox.tenant.id, nobody)


async def test_two_commands_do_not_move_one_tenant(
    owner_database: Database, system_database: Database, tenant: SomeTenant
) -> None:
    async with isolation._alone_with(system_database, tenant.id):
        with pytest.raises(Conflict):
            await rejoin_tenant(owner_database, system_database, tenant.id, nobody)
    await rejoin_tenant(owner_database, system_database, tenant.id, nobody)


async def test_nobody_cannot_be_moved(owner_database: Database, system_database: Database) -> None:
    with pytest.raises(NotFound):
        await isolate_tenant(owner_database, system_database, uuid.uuid4(), nobody)
    async with system_database.system() as session:
        assert await session.scalar(_SCHEMAS) == 0


async def test_a_tenant_that_is_erased_leaves_its_partitions_empty_and_they_can_go(
    owner_database: Database, system_database: Database, inbox: SomeInbox
) -> None:
    await isolate_tenant(owner_database, system_database, inbox.tenant.id, nobody)
    await make_sends(system_database, inbox, 5)
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET status = 'deleted'"))
        await begin_erasure(session, inbox.tenant.id)
    await erase_tenant(system_database, inbox.tenant.id)
    assert await places(system_database, inbox.tenant.id) == set()
    assert (await rejoin_tenant(owner_database, system_database, inbox.tenant.id, nobody)).sends == 0


def test_pages_grow_while_they_are_quick_and_shrink_when_they_hold_others_up() -> None:
    assert next_page(100, HOLD / 4) == 200
    assert next_page(100, HOLD * 0.75) == 100
    assert next_page(100, HOLD * 2) == 50
    assert (next_page(LARGEST, 0.0), next_page(SMALLEST, 1.0)) == (LARGEST, SMALLEST)


class CutOff(Exception):
    """As if the process had died here."""


@contextmanager
def cut_off_after(most: int, *databases: Database) -> Iterator[list[int]]:
    """Have the statement after so many fail, and all after it; yield a list that says once whether one did."""
    numbers, cut = count(), list[int]()

    def listener(*_: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own
        number = next(numbers)
        if number >= most:
            cut.append(number)
            raise CutOff

    for database in databases:
        event.listen(database.engine.sync_engine, "before_cursor_execute", listener)
    yield cut
    for database in databases:
        event.remove(database.engine.sync_engine, "before_cursor_execute", listener)


async def _story(database: Database, tenant_id: uuid.UUID) -> list[tuple[uuid.UUID, str, list[str]]]:
    """Return each send of a tenant with its state and the kinds of its events."""
    query = text("""
        SELECT m.id, m.state, array_agg(e.kind::text ORDER BY e.kind)
        FROM messages m LEFT JOIN message_events e ON e.tenant_id = m.tenant_id AND e.message_id = m.id
        WHERE m.tenant_id = :tenant GROUP BY m.id, m.state ORDER BY m.id
    """)
    async with database.system() as session:
        return [(row[0], row[1], row[2]) for row in await session.execute(query, {"tenant": tenant_id})]
