import asyncio
import datetime as dt
import email
import json
import uuid
from email import policy
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from control_plane.inboxes.change import begin_removal
from control_plane.rest.batches import MAX_BATCH
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import pointers, problem

HELLO: dict[str, Any] = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}
WRONG: dict[str, Any] = {**HELLO, "to": "anna"}


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
def path(inbox: SomeInbox) -> str:
    return f"inboxes/{inbox.id}/messages:batch"


async def rows(database: Database) -> list[Any]:
    async with database.system() as session:
        return list((await session.execute(text("SELECT * FROM messages ORDER BY id"))).all())


def batch(*messages: object) -> dict[str, Any]:
    return {"messages": list(messages)}


async def test_each_message_of_a_batch_is_a_row_as_if_sent_alone(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, path: str
) -> None:
    later = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=1)
    second = {"to": "eve@example.net", "html": "<p>é</p>", "priority": "low", "send_at": later.isoformat()}
    answer = await rest_client.post(path, json=batch(HELLO, second))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (2, 0)
    assert [result["state"] for result in body["results"]] == ["accepted", "accepted"]
    first_row, second_row = await rows(system_database)
    assert [str(first_row.id), str(second_row.id)] == [result["id"] for result in body["results"]]
    for row, result in zip((first_row, second_row), body["results"], strict=True):
        message = email.message_from_bytes(row.payload, policy=policy.SMTP)
        assert message["Message-ID"] == result["message_id"] == f"<{row.id}@{row.signing_domain}>"
        assert (row.tenant_id, row.inbox_id, row.vps_id) == (inbox.tenant.id, inbox.id, inbox.vps_id)
        assert (row.workspace_id, row.state, row.leases) == (inbox.tenant.workspace_id, "accepted", 0)
        assert row.envelope_sender == f"sales@{row.signing_domain}"
    assert (first_row.recipient, first_row.subject, first_row.priority) == ("anna@example.net", "Hello", 1)
    assert first_row.send_at == first_row.accepted_at
    assert (second_row.recipient, second_row.priority, second_row.send_at) == ("eve@example.net", 2, later)


async def test_wrong_messages_are_told_in_their_places_and_the_others_accepted(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    messages = [
        WRONG, HELLO, {**HELLO, "bcc": "eve@example.net"}, 7, {**HELLO, "headers": {"From": "x"}}, HELLO,
        {**HELLO, "text": "x" * 10_000_001}, {"to": "a@example.net"},
    ]  # fmt: skip
    body = (await rest_client.post(path, json=batch(*messages))).json()
    assert (body["accepted"], body["refused"]) == (2, 6)
    assert [result.get("state", result.get("status")) for result in body["results"]] == [
        422, "accepted", 422, 422, 422, "accepted", 413, 422,
    ]  # fmt: skip
    assert [pointers(result) for result in body["results"] if "errors" in result] == [
        ["/messages/0/to"], ["/messages/2/bcc"], ["/messages/3"], ["/messages/4/headers/From"], [],
        ["/messages/7/text"],
    ]  # fmt: skip
    refused = body["results"][0]
    assert (refused["type"], refused["title"]) == ("/problems/invalid-input", "The request is not valid")
    assert len(await rows(system_database)) == 2


async def test_half_of_a_surrogate_pair_spoils_its_own_message_only(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    content = json.dumps(batch({**HELLO, "subject": "\ud800"}, HELLO, {**HELLO, "\ud800": 1}))
    answer = await rest_client.post(path, content=content)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["accepted"], answer.json()["refused"]) == (1, 2)


async def test_a_thousand_messages_go_in_at_once_and_leave_in_their_order(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    messages = [{**HELLO, "to": f"reader{number}@example.net"} for number in range(MAX_BATCH)]
    async with system_database.listening("sends_ready") as connection:
        body = (await rest_client.post(path, json=batch(*messages))).json()
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        hints = [hint.payload async for hint in driver.notifies(timeout=0.5)]
    kept = await rows(system_database)
    assert [str(row.id) for row in kept] == [result["id"] for result in body["results"]]
    assert [row.recipient for row in kept] == [message["to"] for message in messages]
    assert len({row.accepted_at for row in kept}) == 1
    assert hints == [""]


async def test_batches_after_each_other_share_nothing(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, system_database: Database,
    other_tenant: SomeTenant, path: str,
) -> None:  # fmt: skip
    other = await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))
    for _ in range(2):
        assert (await rest_client.post(path, json=batch(HELLO))).json()["accepted"] == 1
        answer = await other_client.post(f"inboxes/{other.id}/messages:batch", json=batch(HELLO, HELLO))
        assert answer.json()["accepted"] == 2
    tenants = [row.tenant_id for row in await rows(system_database)]
    assert (tenants.count(other_tenant.id), len(tenants)) == (4, 6)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", [""]), (b"{", [""]), (b"\xff", [""]), (b"[" * 100_000, [""]),
        (b"[]", [""]), (b"null", [""]), (b"{}", ["/messages"]), (b'{"messages": {}}', ["/messages"]),
        (b'{"messages": []}', ["/messages"]), (json.dumps(batch(*[1] * (MAX_BATCH + 1))).encode(), ["/messages"]),
        (json.dumps({**batch(HELLO), "more": 1}).encode(), ["/more"]),
    ],
)  # fmt: skip
async def test_what_is_no_batch_is_refused_whole(
    rest_client: httpx.AsyncClient, system_database: Database, path: str, content: bytes, where: list[str]
) -> None:
    body = problem(await rest_client.post(path, content=content), 422, "invalid-input")
    assert pointers(body) == where
    assert await rows(system_database) == []


async def test_the_same_batch_under_the_same_key_is_answered_the_same_and_sent_once(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, path: str
) -> None:
    key = {"Idempotency-Key": "monday"}
    first = await rest_client.post(path, json=batch(WRONG, HELLO, HELLO), headers=key)
    async with system_database.system() as session:
        await session.execute(text("UPDATE inboxes SET status = 'failed' WHERE id = :id"), {"id": inbox.id})
    again = await rest_client.post(path, json=batch(WRONG, HELLO, HELLO), headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(await rows(system_database)) == 2


async def test_batches_at_once_under_one_key_send_once(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    key = {"Idempotency-Key": "monday"}
    answers = await asyncio.gather(*(rest_client.post(path, json=batch(HELLO, WRONG), headers=key) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(await rows(system_database)) == 1


async def test_a_key_used_for_another_batch_or_message_is_refused(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, path: str
) -> None:
    key, single = {"Idempotency-Key": "monday"}, f"inboxes/{inbox.id}/messages"
    await rest_client.post(path, json=batch(HELLO), headers=key)
    problem(await rest_client.post(path, json=batch(HELLO, HELLO), headers=key), 422, "idempotency-key-reused")
    problem(await rest_client.post(single, json=HELLO, headers=key), 422, "idempotency-key-reused")
    await rest_client.post(single, json=HELLO, headers={"Idempotency-Key": "tuesday"})
    answer = await rest_client.post(path, json=batch(HELLO), headers={"Idempotency-Key": "tuesday"})
    problem(answer, 422, "idempotency-key-reused")
    assert len(await rows(system_database)) == 2


async def test_a_batch_without_a_right_message_leaves_its_key_free(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    key = {"Idempotency-Key": "monday"}
    assert (await rest_client.post(path, json=batch(WRONG), headers=key)).json()["accepted"] == 0
    assert (await rest_client.post(path, json=batch(HELLO), headers=key)).json()["accepted"] == 1


async def test_the_inbox_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    foreign = problem(await other_client.post(path, json=batch(HELLO)), 404, "not-found")
    unknown = await other_client.post(f"inboxes/{uuid.uuid4()}/messages:batch", json=batch(HELLO))
    assert foreign["detail"] == problem(unknown, 404, "not-found")["detail"]
    assert await rows(system_database) == []


async def test_an_inbox_that_is_not_ready_refuses_the_batch(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant), status="failed")
    answer = await rest_client.post(f"inboxes/{inbox.id}/messages:batch", json=batch(HELLO))
    assert "failed" in problem(answer, 409, "conflict")["detail"]


async def test_a_batch_that_races_with_the_removal_of_its_inbox_is_refused(
    rest_client: httpx.AsyncClient, api_database: Database, system_database: Database, inbox: SomeInbox, path: str
) -> None:
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
    async with api_database.tenant(inbox.tenant.id) as session:
        await begin_removal(session, TenantScope(inbox.tenant.id, EVERYTHING), inbox.id)
        sending = asyncio.create_task(rest_client.post(path, json=batch(HELLO), headers={"Idempotency-Key": "monday"}))
        waiting = 0
        while not waiting:
            async with system_database.system() as other:
                waiting = await other.scalar(blocked) or 0
    assert "deleting" in problem(await sending, 409, "conflict")["detail"]
    assert await rows(system_database) == []
