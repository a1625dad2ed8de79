import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from control_plane.identity.api_keys import PresentedKey, create_api_key, parse_api_key
from control_plane.messages import together
from control_plane.messages.accept import WantedSend
from control_plane.messages.compose import MAX_MESSAGE
from control_plane.messages.send_request import AcceptedSend, Idempotency, SendRequest
from control_plane.messages.together import AcceptsTogether
from db.session import Database
from tests.integration.database import SomeTenant, until_blocked
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import problem


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
def accepting(api_database: Database) -> AcceptsTogether:
    return AcceptsTogether(api_database, utc_now)


@pytest.fixture
def key(tenant: SomeTenant) -> PresentedKey:
    return parse_api_key(tenant.api_key)


def wanted(
    inbox_id: uuid.UUID, to: str = "anna@example.net", body: str = "Hello", key: str | None = None
) -> WantedSend:
    digest = body.encode().ljust(32)[:32]
    return WantedSend(inbox_id, SendRequest(to, "Hello", body), Idempotency(key, digest) if key else None)


async def all_of(
    accepting: AcceptsTogether, key: PresentedKey, sends: Sequence[WantedSend]
) -> list[AcceptedSend | BaseException]:
    """Ask for all in one turn of the event loop: before a transaction can be open."""
    return await asyncio.gather(*(accepting.accept(key, each) for each in sends), return_exceptions=True)


async def rows(database: Database) -> list[Any]:
    """Return the sends, each with the transaction that wrote it."""
    async with database.system() as session:
        return list((await session.execute(text("SELECT *, xmin::text AS written_by FROM messages ORDER BY id"))).all())


async def test_what_comes_at_once_shares_a_transaction_and_each_gets_its_own_answer(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, inbox: SomeInbox
) -> None:
    sends = [wanted(inbox.id, f"reader{number}@example.net") for number in range(100)]
    answers = await all_of(accepting, key, sends)
    kept = {row.id: row for row in await rows(system_database)}
    assert len(kept) == 100
    assert len({row.written_by for row in kept.values()}) == 1
    for send, answer in zip(sends, answers, strict=True):
        assert isinstance(answer, AcceptedSend)
        row = kept[answer.id]
        assert (row.recipient, row.accepted_at, row.send_at) == (send.request.to, answer.accepted_at, answer.send_at)
        assert answer.message_id == f"<{row.id}@{row.signing_domain}>"


async def test_requests_over_rest_share_transactions(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    body = {"to": "anna@example.net", "subject": "Hello", "text": "Hello\n"}
    answers = await asyncio.gather(*(rest_client.post(f"inboxes/{inbox.id}/messages", json=body) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {202}
    kept = await rows(system_database)
    assert {str(row.id) for row in kept} == {answer.json()["id"] for answer in answers}
    assert len({row.written_by for row in kept}) <= 10


async def test_a_request_that_is_refused_leaves_its_neighbours_alone(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, tenant: SomeTenant, inbox: SomeInbox
) -> None:
    unready = await make_inbox(system_database, tenant, inbox.vps_id, status="failed")
    await accepting.accept(key, wanted(inbox.id, key="monday"))
    sends = {
        wanted(inbox.id): AcceptedSend,
        wanted(inbox.id, to="anna"): InvalidInput,
        wanted(uuid.uuid4()): NotFound,
        wanted(unready.id): Conflict,
        wanted(inbox.id, body="Other", key="monday"): IdempotencyKeyReused,
        wanted(inbox.id, key="monday"): AcceptedSend,
        wanted(inbox.id, body="x" * (MAX_MESSAGE + 1)): TooLarge,
        wanted(inbox.id, to="eve@example.net"): AcceptedSend,
    }
    answers = await all_of(accepting, key, list(sends))
    assert [type(answer) for answer in answers] == list(sends.values())
    kept = await rows(system_database)
    assert [row.recipient for row in kept].count("eve@example.net") == 1
    assert len(kept) == 3


async def test_a_row_that_the_database_refuses_fails_alone(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, inbox: SomeInbox, owner_url: str
) -> None:
    with psycopg.connect(owner_url) as owner:
        owner.execute("ALTER TABLE messages ADD CHECK (recipient <> 'eve@example.net')")
    sends = [wanted(inbox.id, to) for to in ("anna@example.net", "eve@example.net", "otto@example.net")]
    first, refused, last = await all_of(accepting, key, sends)
    assert isinstance(refused, psycopg.IntegrityError)
    kept = await rows(system_database)
    assert [first, last] == [AcceptedSend(r.id, f"<{r.id}@{r.signing_domain}>", r.accepted_at, r.send_at) for r in kept]


async def test_one_key_used_twice_in_a_transaction_makes_one_send(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, inbox: SomeInbox
) -> None:
    same = wanted(inbox.id, key="monday")
    other = wanted(inbox.id, body="Other", key="monday")
    first, second, reused, unkeyed = await all_of(accepting, key, [same, same, other, wanted(inbox.id)])
    assert isinstance(first, AcceptedSend)
    assert second == first
    assert isinstance(reused, IdempotencyKeyReused)
    assert isinstance(unkeyed, AcceptedSend)
    assert {row.id for row in await rows(system_database)} == {first.id, unkeyed.id}


async def test_transactions_with_the_same_keys_in_another_order_do_not_stop_each_other(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, tenant: SomeTenant, inbox: SomeInbox
) -> None:
    async with system_database.system() as session:
        other = parse_api_key(await create_api_key(session, tenant.id, "other"))
    for turn in range(5):
        sends = [wanted(inbox.id, key=f"{turn}-{number}") for number in range(50)]
        forth, back = await asyncio.gather(all_of(accepting, key, sends), all_of(accepting, other, sends[::-1]))
        assert forth == back[::-1]
        assert all(isinstance(answer, AcceptedSend) for answer in forth)
    assert len(await rows(system_database)) == 250


async def test_a_client_that_leaves_disturbs_nobody(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, inbox: SomeInbox, owner_url: str
) -> None:
    with psycopg.connect(owner_url) as owner:
        owner.execute("SELECT FROM inboxes FOR UPDATE")
        asked = [asyncio.create_task(accepting.accept(key, wanted(inbox.id, f"a{n}@example.net"))) for n in range(3)]
        await until_blocked(system_database)
        later = [asyncio.create_task(accepting.accept(key, wanted(inbox.id, f"b{n}@example.net"))) for n in range(3)]
        await asyncio.sleep(0)
        for task in (asked[1], later[1]):
            task.cancel()
        await asyncio.wait([asked[1], later[1]])
    answers = await asyncio.gather(asked[0], asked[2], later[0], later[2])
    kept = {row.id: row.recipient for row in await rows(system_database)}
    assert [kept[answer.id] for answer in answers] == [f"{name}@example.net" for name in ("a0", "a2", "b0", "b2")]
    # Nobody hears of what was on its way; what had not begun does not begin.
    assert sorted(kept.values()) == [f"{name}@example.net" for name in ("a0", "a1", "a2", "b0", "b2")]


async def test_a_connection_that_breaks_fails_all_and_the_next_succeed(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, inbox: SomeInbox, owner_url: str
) -> None:
    with psycopg.connect(owner_url) as owner:
        owner.execute("SELECT FROM inboxes FOR UPDATE")
        asked = [asyncio.create_task(accepting.accept(key, wanted(inbox.id))) for _ in range(5)]
        await until_blocked(system_database)
        owner.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'penguin_api'")
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, psycopg.OperationalError) for answer in answers] == [True] * 5
    assert await rows(system_database) == []
    await accepting.accept(key, wanted(inbox.id))
    assert len(await rows(system_database)) == 1


async def test_all_are_told_when_to_come_again_while_the_database_is_away(
    rest_client: httpx.AsyncClient, inbox: SomeInbox, owner_url: str
) -> None:
    body = {"to": "anna@example.net", "subject": "Hello", "text": "Hello\n"}
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("ALTER ROLE penguin_api CONNECTION LIMIT 0")
        owner.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'penguin_api'")
        try:
            asked = (rest_client.post(f"inboxes/{inbox.id}/messages", json=body) for _ in range(20))
            answers = await asyncio.gather(*asked)
        finally:
            owner.execute("ALTER ROLE penguin_api CONNECTION LIMIT -1")
    for answer in answers:
        problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0


async def test_tenants_that_send_at_once_share_nothing(
    accepting: AcceptsTogether,
    key: PresentedKey,
    system_database: Database,
    inbox: SomeInbox,
    other_tenant: SomeTenant,
) -> None:
    other_key = parse_api_key(other_tenant.api_key)
    other = await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))
    sends = [wanted(inbox.id, key="monday"), wanted(other.id), wanted(other.id, body="Other", key="monday")]
    (mine, no_inbox, _), (foreign, theirs, keyed) = await asyncio.gather(
        all_of(accepting, key, sends), all_of(accepting, other_key, sends)
    )
    assert isinstance(no_inbox, NotFound)
    assert isinstance(foreign, NotFound)
    kept = {row.id: (row.tenant_id, row.inbox_id, row.written_by) for row in await rows(system_database)}
    assert isinstance(mine, AcceptedSend)
    assert isinstance(theirs, AcceptedSend)
    assert isinstance(keyed, AcceptedSend)
    assert kept.keys() == {mine.id, theirs.id, keyed.id}
    assert kept[mine.id][:2] == (inbox.tenant.id, inbox.id)
    assert kept[theirs.id][:2] == kept[keyed.id][:2] == (other_tenant.id, other.id)
    assert kept[mine.id][2] != kept[theirs.id][2]


async def test_a_key_that_is_not_true_fails_alone_beside_the_true_one(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, inbox: SomeInbox
) -> None:
    forged = PresentedKey(key.tenant_id, key.prefix, bytes(32))
    true, false = await asyncio.gather(
        all_of(accepting, key, [wanted(inbox.id)] * 3), all_of(accepting, forged, [wanted(inbox.id)] * 3)
    )
    assert [type(answer) for answer in true] == [AcceptedSend] * 3
    assert [type(answer) for answer in false] == [Unauthenticated] * 3
    assert len(await rows(system_database)) == 3


async def test_a_revoked_key_sends_nothing_from_then_on(
    accepting: AcceptsTogether, key: PresentedKey, system_database: Database, inbox: SomeInbox
) -> None:
    await accepting.accept(key, wanted(inbox.id))
    async with system_database.system() as session:
        await session.execute(text("UPDATE api_keys SET revoked_at = now()"))
    answers = await all_of(accepting, key, [wanted(inbox.id)] * 3)
    assert [type(answer) for answer in answers] == [Unauthenticated] * 3
    assert len(await rows(system_database)) == 1


async def test_who_finds_too_many_waiting_is_sent_away(
    accepting: AcceptsTogether, key: PresentedKey, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "MAX_WAITING", 6)
    answers = await all_of(accepting, key, [wanted(inbox.id)] * 5)
    assert [type(answer) for answer in answers] == [AcceptedSend] * 3 + [Unavailable] * 2
    assert isinstance(await accepting.accept(key, wanted(inbox.id)), AcceptedSend)


async def test_more_than_go_together_go_one_after_the_other(
    accepting: AcceptsTogether,
    key: PresentedKey,
    system_database: Database,
    inbox: SomeInbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(together, "MAX_TOGETHER", 4)
    answers = await all_of(accepting, key, [wanted(inbox.id)] * 10)
    assert {type(answer) for answer in answers} == {AcceptedSend}
    kept = [row.written_by for row in await rows(system_database)]
    assert sorted(kept.count(each) for each in set(kept)) == [2, 4, 4]
