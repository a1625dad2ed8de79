import asyncio
import uuid
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text

from control_plane.messages.cancel import cancel_send, cancel_waiting_sends
from control_plane.queuer.allot import Line
from control_plane.queuer.statements import claim
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of
from tests.integration.rest import problem

HELLO = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def lease(database: Database, inbox: SomeInbox, count: int = 100) -> list[uuid.UUID]:
    return [send.id for send in await claim(database, {Line(inbox.vps_id, 1): count}, 300)]


async def put(database: Database, send_id: uuid.UUID, state: str, *, is_silent: bool = False) -> None:
    async with database.system() as session:
        await session.execute(
            text(
                "UPDATE messages SET state = :state, leases = 1, lease_token = gen_random_uuid(),"
                " lease_deadline = now(), silent_since = CASE WHEN :is_silent THEN now() END WHERE id = :id"
            ),
            {"id": send_id, "state": state, "is_silent": is_silent},
        )


async def until_blocked(database: Database) -> None:
    """Return when somebody waits for a lock that another holds."""
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
    while True:
        async with database.system() as session:
            if await session.scalar(blocked):
                return


async def test_a_message_that_was_never_leased_is_cancelled_and_never_claimed(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    accepted = (await rest_client.post(f"inboxes/{inbox.id}/messages", json=HELLO)).json()
    answer = await rest_client.delete(f"messages/{accepted['id']}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["state"], body["state_reason"]) == ("cancelled", "Cancelled on request.")
    assert body["final_at"] is not None
    assert [moment["kind"] for moment in body["timeline"]] == ["accepted", "cancelled"]
    assert (await rest_client.get(f"messages/{accepted['id']}")).json() == body
    assert await lease(system_database, inbox) == []


@pytest.mark.parametrize(
    "state",
    ["queued", "relayed", "delivered", "bounced", "expired", "failed", "cancelled", "suppressed", "uncertain", "dead"],
)
async def test_a_message_in_any_other_state_is_left_as_it_is(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, state: str
) -> None:
    (send_id,) = await make_sends(system_database, inbox, 1)
    await put(system_database, send_id, state)
    body = problem(await rest_client.delete(f"messages/{send_id}"), 409, "conflict")
    assert state in body["detail"]
    assert await states_of(system_database, [send_id]) == [state]


async def test_a_message_that_waits_again_after_a_lease_may_have_been_sent(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    (send_id,) = await make_sends(system_database, inbox, 1)
    await put(system_database, send_id, "accepted", is_silent=True)
    body = problem(await rest_client.delete(f"messages/{send_id}"), 409, "conflict")
    assert "accepted" in body["detail"]
    assert "may have been sent" in body["detail"]
    assert await states_of(system_database, [send_id]) == ["accepted"]


async def test_a_message_that_its_server_gave_back_unsent_is_cancelled(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    (send_id,) = await make_sends(system_database, inbox, 1)
    await put(system_database, send_id, "accepted")
    assert (await rest_client.delete(f"messages/{send_id}")).status_code == 200
    assert await states_of(system_database, [send_id]) == ["cancelled"]


async def test_a_message_is_cancelled_once(rest_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    accepted = (await rest_client.post(f"inboxes/{inbox.id}/messages", json=HELLO)).json()
    answers = await asyncio.gather(*(rest_client.delete(f"messages/{accepted['id']}") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    kinds = [moment["kind"] for moment in (await rest_client.get(f"messages/{accepted['id']}")).json()["timeline"]]
    assert kinds == ["accepted", "cancelled"]


async def test_the_message_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    (send_id,) = await make_sends(system_database, inbox, 1)
    foreign = problem(await other_client.delete(f"messages/{send_id}"), 404, "not-found")
    unknown = problem(await other_client.delete(f"messages/{uuid.uuid4()}"), 404, "not-found")
    assert foreign["detail"] == unknown["detail"]
    assert await states_of(system_database, [send_id]) == ["accepted"]


async def test_a_claim_passes_by_what_is_being_cancelled(
    api_database: Database, system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 2)
    async with api_database.tenant(inbox.tenant.id) as session:
        await cancel_send(session, TenantScope(inbox.tenant.id, EVERYTHING), ids[0])
        assert await lease(system_database, inbox) == [ids[1]]
    assert await lease(system_database, inbox) == []
    assert await states_of(system_database, ids) == ["cancelled", "queued"]


async def test_a_cancellation_that_meets_a_claim_waits_and_comes_too_late(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    (send_id,) = await make_sends(system_database, inbox, 1)
    async with system_database.system() as session:
        await session.execute(
            text(
                "UPDATE messages SET state = 'queued', leases = 1, lease_token = gen_random_uuid(),"
                " lease_deadline = now() WHERE id = :id"
            ),
            {"id": send_id},
        )
        cancelling = asyncio.create_task(rest_client.delete(f"messages/{send_id}"))
        await until_blocked(system_database)
    assert "queued" in problem(await cancelling, 409, "conflict")["detail"]
    assert await states_of(system_database, [send_id]) == ["queued"]


async def test_claims_and_cancellations_at_once_never_both_have_a_message(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    ids = await make_sends(system_database, inbox, 60)
    leased: list[uuid.UUID] = []

    async def queuer() -> None:
        for _ in range(8):
            leased.extend(await lease(system_database, inbox, 5))

    async def tenant() -> set[uuid.UUID]:
        answers = [(send_id, await rest_client.delete(f"messages/{send_id}")) for send_id in ids[::2]]
        return {send_id for send_id, answer in answers if answer.status_code == 200}

    _, cancelled, _ = await asyncio.gather(queuer(), tenant(), queuer())
    leased.extend(await lease(system_database, inbox))
    assert len(leased) == len(set(leased))
    assert set(leased) == set(ids) - cancelled
    states = dict(zip(ids, await states_of(system_database, ids), strict=True))
    assert {send_id for send_id, state in states.items() if state == "cancelled"} == cancelled


async def test_when_an_inbox_goes_what_may_have_been_sent_is_not_called_cancelled(
    api_database: Database, system_database: Database, inbox: SomeInbox
) -> None:
    _, unsent, silent = ids = await make_sends(system_database, inbox, 3)
    await put(system_database, unsent, "accepted")
    await put(system_database, silent, "accepted", is_silent=True)
    async with api_database.tenant(inbox.tenant.id) as session:
        scope = TenantScope(inbox.tenant.id, EVERYTHING)
        assert await cancel_waiting_sends(session, scope, inbox.id, "The inbox was removed.") == 3
    assert await states_of(system_database, ids) == ["cancelled", "cancelled", "uncertain"]


async def test_sends_are_ended_in_the_order_of_their_ids_as_events_lock_them(
    system_database: Database, inbox: SomeInbox
) -> None:
    first, second = sorted(await make_sends(system_database, inbox, 2))
    touch = text("UPDATE messages SET send_at = send_at + CAST(:later AS interval) WHERE id = :id")
    async with system_database.system() as session:
        # By the table as by each index, the first is the later one now.
        await session.execute(touch, {"id": first, "later": timedelta(minutes=1)})
    async with system_database.system() as events:
        await events.execute(touch, {"id": first, "later": timedelta(0)})
        ending = asyncio.create_task(end_all(system_database, inbox))
        await until_blocked(system_database)
        await events.execute(touch, {"id": second, "later": timedelta(0)})
    assert await ending == 2


async def end_all(database: Database, inbox: SomeInbox) -> int:
    async with database.system() as session:
        return await cancel_waiting_sends(session, TenantScope(inbox.tenant.id, EVERYTHING), inbox.id, "It is over.")
