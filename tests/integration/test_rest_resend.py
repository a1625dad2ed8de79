import asyncio
import email
import uuid
from email import policy
from typing import Any

import httpx
import pytest
from sqlalchemy import Row, text

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import problem

HELLO = {
    "to": "anna@example.net",
    "subject": "Hello",
    "text": "Hello\n\nDate: not this one\nMessage-ID: nor this\n",
    "html": "<p>é</p>",
    "headers": {"X-Campaign": "7"},
    "priority": "high",
}


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
async def uncertain(rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox) -> str:
    """The id of a send of which nobody knows whether it was sent."""
    send_id = (await rest_client.post(f"inboxes/{inbox.id}/messages", json=HELLO)).json()["id"]
    await put(system_database, send_id, "uncertain")
    return str(send_id)


async def put(database: Database, send_id: str, state: str) -> None:
    async with database.system() as session:
        await session.execute(
            text(
                "UPDATE messages SET state = :state, final_at = now(), lease_token = gen_random_uuid(),"
                " lease_deadline = now(), leases = 1, send_at = send_at - interval '1 day' WHERE id = :id"
            ),
            {"id": send_id, "state": state},
        )


async def row(database: Database, send_id: str) -> Row[Any]:
    async with database.system() as session:
        return (await session.execute(text("SELECT * FROM messages WHERE id = :id"), {"id": send_id})).one()


async def count(database: Database) -> object:
    async with database.system() as session:
        return await session.scalar(text("SELECT count(*) FROM messages"))


async def test_an_uncertain_message_is_sent_again_as_a_new_one(
    rest_client: httpx.AsyncClient, system_database: Database, uncertain: str
) -> None:
    answer = await rest_client.post(f"messages/{uncertain}/resend")
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert answer.headers["location"] == f"/api/v1/messages/{body['id']}"
    assert body["id"] != uncertain
    old, new = await row(system_database, uncertain), await row(system_database, body["id"])
    assert (old.state, new.state, new.leases, new.resend_of) == ("uncertain", "accepted", 0, old.id)
    same = ("tenant_id", "workspace_id", "inbox_id", "vps_id", "priority", "envelope_sender", "recipient", "subject")
    assert [getattr(new, name) for name in same] == [getattr(old, name) for name in same]
    assert new.send_at == new.accepted_at > old.accepted_at


async def test_the_message_stays_the_same_but_for_its_id_and_date(
    rest_client: httpx.AsyncClient, system_database: Database, uncertain: str
) -> None:
    body = (await rest_client.post(f"messages/{uncertain}/resend")).json()
    old, new = await row(system_database, uncertain), await row(system_database, body["id"])
    message = email.message_from_bytes(new.payload, policy=policy.SMTP)
    assert message["Message-ID"] == body["message_id"] == f"<{new.id}@{new.signing_domain}>"
    assert message["Date"].datetime == new.send_at.replace(microsecond=0)
    pairs = zip(old.payload.split(b"\r\n"), new.payload.split(b"\r\n"), strict=True)
    assert [was.split(b":")[0] for was, now in pairs if was != now and b"Date: " not in was] == [b"Message-ID"]


async def test_each_of_the_two_tells_of_the_other(rest_client: httpx.AsyncClient, uncertain: str) -> None:
    again = (await rest_client.post(f"messages/{uncertain}/resend")).json()["id"]
    old = (await rest_client.get(f"messages/{uncertain}")).json()
    new = (await rest_client.get(f"messages/{again}")).json()
    assert (old["timeline"][-1]["kind"], old["timeline"][-1]["detail"]) == ("resent", {"message_id": again})
    assert (new["timeline"][0]["kind"], new["timeline"][0]["detail"]) == ("accepted", {"resend_of": uncertain})
    assert (old["resend_of"], new["resend_of"]) == (None, uncertain)


async def test_a_request_repeated_under_its_key_is_answered_the_same_and_sent_once(
    rest_client: httpx.AsyncClient, system_database: Database, uncertain: str
) -> None:
    key = {"Idempotency-Key": "click"}
    answers = await asyncio.gather(*(rest_client.post(f"messages/{uncertain}/resend", headers=key) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({(answer.text, answer.headers["location"]) for answer in answers}) == 1
    assert await count(system_database) == 2


async def test_without_a_key_a_second_click_sends_nothing_and_says_what_the_first_sent(
    rest_client: httpx.AsyncClient, system_database: Database, uncertain: str
) -> None:
    answers = await asyncio.gather(*(rest_client.post(f"messages/{uncertain}/resend") for _ in range(5)))
    (sent,) = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer.status_code != 202:
            assert sent in problem(answer, 409, "conflict")["detail"]
    assert await count(system_database) == 2


async def test_a_resend_that_is_uncertain_too_can_be_sent_again(
    rest_client: httpx.AsyncClient, system_database: Database, uncertain: str
) -> None:
    second = (await rest_client.post(f"messages/{uncertain}/resend")).json()["id"]
    await put(system_database, second, "uncertain")
    third = (await rest_client.post(f"messages/{second}/resend")).json()["id"]
    assert str((await row(system_database, third)).resend_of) == second


async def test_a_key_used_for_another_request_is_refused(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, uncertain: str
) -> None:
    key = {"Idempotency-Key": "click"}
    await rest_client.post(f"inboxes/{inbox.id}/messages", json=HELLO, headers=key)
    problem(await rest_client.post(f"messages/{uncertain}/resend", headers=key), 422, "idempotency-key-reused")
    assert await count(system_database) == 2


@pytest.mark.parametrize(
    "state",
    ["accepted", "queued", "relayed", "delivered", "bounced", "expired", "failed", "cancelled", "suppressed", "dead"],
)
async def test_a_message_in_any_other_state_is_not_sent_again(
    rest_client: httpx.AsyncClient, system_database: Database, uncertain: str, state: str
) -> None:
    await put(system_database, uncertain, state)
    assert state in problem(await rest_client.post(f"messages/{uncertain}/resend"), 409, "conflict")["detail"]
    assert await count(system_database) == 1


@pytest.mark.parametrize("change", ["UPDATE inboxes SET status = 'deleting'", "UPDATE messages SET inbox_id = NULL"])
async def test_nothing_is_sent_again_from_an_inbox_that_is_gone(
    rest_client: httpx.AsyncClient, system_database: Database, uncertain: str, change: str
) -> None:
    async with system_database.system() as session:
        await session.execute(text(change))
    problem(await rest_client.post(f"messages/{uncertain}/resend"), 409, "conflict")
    assert await count(system_database) == 1


async def test_the_message_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, uncertain: str
) -> None:
    foreign = problem(await other_client.post(f"messages/{uncertain}/resend"), 404, "not-found")
    unknown = problem(await other_client.post(f"messages/{uuid.uuid4()}/resend"), 404, "not-found")
    assert foreign["detail"] == unknown["detail"]
    assert await count(system_database) == 1
