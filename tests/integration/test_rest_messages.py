import asyncio
import datetime as dt
import email
import json
import uuid
from collections.abc import AsyncIterator
from email import policy
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.types import Message, Receive, Scope, Send

from control_plane.inboxes.change import begin_removal
from control_plane.messages.accept import WantedSend, accept_sends
from control_plane.messages.cancel import cancel_waiting_sends
from control_plane.messages.compose import MAX_MESSAGE
from control_plane.messages.send_request import SendRequest
from control_plane.rest.body_limit import MAX_BODY
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database, driver_connection
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.rest import client_of, pointers, problem

HELLO = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
def path(inbox: SomeInbox) -> str:
    return f"inboxes/{inbox.id}/messages"


async def rows(database: Database) -> list[Any]:
    async with database.system() as session:
        return list((await session.execute(text("SELECT * FROM messages ORDER BY id"))).all())


async def test_an_accepted_message_is_a_row_with_the_whole_message(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, path: str
) -> None:
    answer = await rest_client.post(path, json={**HELLO, "html": "<p>Hello Anna</p>", "headers": {"X-Campaign": "7"}})
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/api/v1/messages/{body['id']}"
    assert body["state"] == "accepted"
    (row,) = await rows(system_database)
    assert (str(row.id), row.tenant_id, row.inbox_id, row.vps_id, row.state, row.priority) == (
        body["id"], inbox.tenant.id, inbox.id, inbox.vps_id, "accepted", 1,
    )  # fmt: skip
    assert (row.recipient, row.subject) == ("anna@example.net", "Hello")
    assert row.envelope_sender == f"sales@{row.signing_domain}"
    message = email.message_from_bytes(row.payload, policy=policy.SMTP)
    assert message["Message-ID"] == body["message_id"] == f"<{row.id}@{row.signing_domain}>"
    assert message["From"] == row.envelope_sender
    assert message["X-Campaign"] == "7"
    assert dt.datetime.fromisoformat(body["accepted_at"]) == row.accepted_at


async def test_an_answer_is_sent_after_the_commit(
    rest_app: FastAPI, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    seen: list[int] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def look_then_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.append(len(await rows(system_database)))
            await send(message)

        await rest_app(scope, receive, look_then_send)

    async with client_of(watched, tenant.api_key) as client:
        assert (await client.post(path, json=HELLO)).status_code == 202
    assert seen == [1]


async def test_a_commit_that_fails_is_not_answered_with_success(
    rest_client: httpx.AsyncClient, system_database: Database, owner_url: str, path: str
) -> None:
    with psycopg.connect(owner_url) as owner:
        owner.execute("CREATE FUNCTION refuse() RETURNS trigger AS $$BEGIN RAISE 'no'; END$$ LANGUAGE plpgsql")
        owner.execute(
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    body = problem(await rest_client.post(path, json=HELLO), 500, "internal")
    assert "no" not in body["detail"].split()
    assert await rows(system_database) == []


async def test_the_queuer_is_hinted(rest_client: httpx.AsyncClient, system_database: Database, path: str) -> None:
    async with system_database.listening("sends_ready") as connection:
        await rest_client.post(path, json=HELLO)
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        heard = [notify.channel async for notify in driver.notifies(timeout=10, stop_after=1)]
    assert heard == ["sends_ready"]


@pytest.mark.parametrize(("name", "number"), [("high", 0), ("normal", 1), ("low", 2)])
async def test_the_priority_is_kept(
    rest_client: httpx.AsyncClient, system_database: Database, path: str, name: str, number: int
) -> None:
    answer = await rest_client.post(path, json={**HELLO, "priority": name})
    assert [row.priority for row in await rows(system_database)] == [number]
    assert (await rest_client.get(f"messages/{answer.json()['id']}")).json()["priority"] == name


async def test_a_send_for_later_waits_and_is_dated_then(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    later = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=2)
    await rest_client.post(path, json={**HELLO, "send_at": later.isoformat()})
    (row,) = await rows(system_database)
    assert row.send_at == later
    assert email.message_from_bytes(row.payload, policy=policy.SMTP)["Date"].datetime == later


async def test_a_moment_that_has_passed_means_now(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    await rest_client.post(path, json={**HELLO, "send_at": "2020-01-01T00:00:00Z"})
    (row,) = await rows(system_database)
    assert row.send_at == row.accepted_at


@pytest.mark.parametrize(
    "moment", ["2026-11-21T12:00:00", "tomorrow", "9999-12-31T23:59:59-12:00", "2199-01-01T00:00Z"]
)
async def test_a_moment_without_offset_or_too_far_away_is_refused(
    rest_client: httpx.AsyncClient, path: str, moment: str
) -> None:
    body = problem(await rest_client.post(path, json={**HELLO, "send_at": moment}), 422, "invalid-input")
    assert pointers(body) == ["/send_at"]


async def test_the_same_request_under_the_same_key_is_answered_the_same_and_sent_once(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    key = {"Idempotency-Key": "order-17"}
    first = await rest_client.post(path, json=HELLO, headers=key)
    again = await rest_client.post(path, json=HELLO, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert (first.json(), first.headers["location"]) == (again.json(), again.headers["location"])
    assert len(await rows(system_database)) == 1


async def test_requests_at_once_under_one_key_make_one_send(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    key = {"Idempotency-Key": "order-17"}
    answers = await asyncio.gather(*(rest_client.post(path, json=HELLO, headers=key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert len(await rows(system_database)) == 1


async def test_a_key_used_for_another_request_is_refused(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    key = {"Idempotency-Key": "order-17"}
    await rest_client.post(path, json=HELLO, headers=key)
    other = await rest_client.post(path, json={**HELLO, "subject": "Other"}, headers=key)
    problem(other, 422, "idempotency-key-reused")
    assert len(await rows(system_database)) == 1


async def test_the_first_answer_stands_though_the_inbox_has_changed(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, path: str
) -> None:
    key = {"Idempotency-Key": "order-17"}
    first = await rest_client.post(path, json=HELLO, headers=key)
    async with system_database.system() as session:
        await session.execute(text("UPDATE inboxes SET status = 'failed' WHERE id = :id"), {"id": inbox.id})
    assert (await rest_client.post(path, json=HELLO, headers=key)).json() == first.json()


async def test_tenants_do_not_share_idempotency_keys(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    other_tenant: SomeTenant,
    path: str,
) -> None:
    other = await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))
    key = {"Idempotency-Key": "order-17"}
    await rest_client.post(path, json=HELLO, headers=key)
    assert (await other_client.post(f"inboxes/{other.id}/messages", json=HELLO, headers=key)).status_code == 202


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256])
async def test_an_idempotency_key_that_is_none_is_refused(rest_client: httpx.AsyncClient, path: str, key: str) -> None:
    answer = await rest_client.post(path, json=HELLO, headers=[(b"Idempotency-Key", key.encode())])
    problem(answer, 422, "invalid-input")


async def test_the_inbox_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    foreign = problem(await other_client.post(path, json=HELLO), 404, "not-found")
    unknown = problem(await other_client.post(f"inboxes/{uuid.uuid4()}/messages", json=HELLO), 404, "not-found")
    assert foreign["detail"] == unknown["detail"]
    assert await rows(system_database) == []


@pytest.mark.parametrize("status", ["pending_setup", "pending_dns", "failed", "deleting"])
async def test_an_inbox_that_is_not_ready_says_its_status(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, status: str
) -> None:
    server = await make_server(system_database, tenant)
    inbox = await make_inbox(system_database, tenant, server, status=status)
    body = problem(await rest_client.post(f"inboxes/{inbox.id}/messages", json=HELLO), 409, "conflict")
    assert status in body["detail"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"to": "anna"}, "/to"),
        ({"to": "anna@example.net>\r\nRCPT TO:<eve@example.net"}, "/to"),
        ({"to": "Anna <anna@example.net>"}, "/to"),
        ({"to": "anna@example.net, eve@example.net"}, "/to"),
        ({"to": ["anna@example.net"]}, "/to"),
        ({"subject": "Hi\r\nBcc: eve@example.net"}, "/subject"),
        ({"subject": "Hi\nBcc: eve@example.net"}, "/subject"),
        ({"headers": {"X-A": "a\r\nBcc: eve@example.net"}}, "/headers/X-A"),
        ({"headers": {"X-A: b\r\nBcc": "eve@example.net"}}, "/headers/X-A: b\r\nBcc"),
        ({"headers": {"From": "eve@example.net"}}, "/headers/From"),
        ({"headers": {"bcc": "eve@example.net"}}, "/headers/bcc"),
        ({"headers": {"Content-Type": "text/plain"}}, "/headers/Content-Type"),
        ({"headers": {"DKIM-Signature": "v=1"}}, "/headers/DKIM-Signature"),
        ({"headers": {"A/B~": "x"}}, "/headers/A~1B~0"),
        ({"text": "one\rtwo"}, "/text"),
        ({"text": "one\0two"}, "/text"),
        ({"html": "<p>\r</p>"}, "/html"),
        ({"text": None}, "/text"),
        ({"priority": "urgent"}, "/priority"),
        ({"bcc": "eve@example.net"}, "/bcc"),
        ({"from": "eve@example.net"}, "/from"),
    ],
)
async def test_bad_input_is_refused_by_name(
    rest_client: httpx.AsyncClient, system_database: Database, path: str, change: dict[str, Any], pointer: str
) -> None:
    body = problem(await rest_client.post(path, json={**HELLO, **change}), 422, "invalid-input")
    assert pointers(body) == [pointer]
    assert await rows(system_database) == []


@pytest.mark.parametrize("field", ["to", "subject", "text", "html", "\ud800"])
async def test_half_of_a_surrogate_pair_is_refused(rest_client: httpx.AsyncClient, path: str, field: str) -> None:
    content = json.dumps({**HELLO, field: "\ud800"})
    headers = {"Content-Type": "application/json"}
    problem(await rest_client.post(path, content=content, headers=headers), 422, "invalid-input")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"to": "a@example.net"'])
async def test_what_is_no_json_object_is_refused(rest_client: httpx.AsyncClient, path: str, content: bytes) -> None:
    answer = await rest_client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_that_says_it_is_too_long_is_not_read(rest_client: httpx.AsyncClient, path: str) -> None:
    reads = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal reads
        reads += 1
        yield b"{"

    headers = {"Content-Type": "application/json", "Content-Length": str(MAX_BODY + 1)}
    problem(await rest_client.post(path, content=body(), headers=headers), 413, "too-large")
    assert reads == 0


async def test_a_body_that_grows_too_long_is_cut_off(rest_client: httpx.AsyncClient, path: str) -> None:
    chunk, sent = b"x" * 1_000_000, 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += len(chunk)
            yield chunk

    answer = await rest_client.post(path, content=body(), headers={"Content-Type": "application/json"})
    problem(answer, 413, "too-large")
    assert sent <= MAX_BODY + 2 * len(chunk)


async def test_a_message_over_10_mb_is_refused(
    rest_client: httpx.AsyncClient, system_database: Database, path: str
) -> None:
    answer = await rest_client.post(path, json={**HELLO, "text": "x" * (MAX_MESSAGE + 1)})
    problem(answer, 413, "too-large")
    assert await rows(system_database) == []


async def test_a_message_shows_its_whole_timeline(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    (send_id,) = await make_sends(system_database, inbox, 1)
    start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    moments = {"queued": 0, "relayed": 1, "deferred": 2, "delivered": 3, "bounced": 4}
    async with system_database.system() as session:
        await session.execute(
            text(
                "UPDATE messages SET state = 'delivered', lease_token = gen_random_uuid(), lease_deadline = now(),"
                " queue_id = '4XyZ', queued_at = :at, final_at = :at WHERE id = :id"
            ),
            {"id": send_id, "at": start},
        )
        for kind, seconds in list(moments.items())[1:]:
            await session.execute(
                text(
                    "INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, applied, detail)"
                    " VALUES (:tenant, :id, gen_random_uuid(), :kind, :at, :applied,"
                    " jsonb_build_object('queue_id', '4XyZ'))"
                ),
                {
                    "tenant": inbox.tenant.id,
                    "id": send_id,
                    "kind": kind,
                    "at": start + dt.timedelta(seconds=seconds),
                    "applied": kind != "bounced",
                },
            )
    body = (await rest_client.get(f"messages/{send_id}")).json()
    assert (body["state"], body["queue_id"], body["vps_id"]) == ("delivered", "4XyZ", str(inbox.vps_id))
    assert [moment["kind"] for moment in body["timeline"]] == ["accepted", *moments]
    assert body["timeline"][2] == {
        "kind": "relayed",
        "at": (start + dt.timedelta(seconds=1)).isoformat().replace("+00:00", "Z"),
        "applied": True,
        "detail": {"queue_id": "4XyZ"},
    }
    assert [moment["applied"] for moment in body["timeline"]][-1] is False


async def test_the_message_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    (send_id,) = await make_sends(system_database, inbox, 1)
    problem(await other_client.get(f"messages/{send_id}"), 404, "not-found")


async def until_blocked(database: Database) -> None:
    """Return when somebody waits for a lock that another holds."""
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0")
    while True:
        async with database.system() as session:
            if await session.scalar(blocked):
                return


async def test_a_send_that_races_with_the_removal_of_its_inbox_is_refused(
    rest_client: httpx.AsyncClient,
    api_database: Database,
    system_database: Database,
    inbox: SomeInbox,
    path: str,
) -> None:
    scope = TenantScope(inbox.tenant.id, EVERYTHING)
    async with api_database.tenant(inbox.tenant.id) as session:
        await begin_removal(session, scope, inbox.id)
        await cancel_waiting_sends(session, scope, inbox.id, "The inbox was removed.")
        send = asyncio.create_task(rest_client.post(path, json=HELLO))
        await until_blocked(system_database)
    body = problem(await send, 409, "conflict")
    assert "deleting" in body["detail"]
    assert await rows(system_database) == []


async def test_the_removal_of_an_inbox_waits_for_a_send_and_cancels_it(
    rest_client: httpx.AsyncClient, api_database: Database, system_database: Database, inbox: SomeInbox
) -> None:
    scope = TenantScope(inbox.tenant.id, EVERYTHING)
    async with api_database.tenant(inbox.tenant.id) as session:
        wanted = WantedSend(inbox.id, SendRequest("anna@example.net", "Hello", "Hello"))
        await accept_sends(await driver_connection(session), scope, [wanted])
        removal = asyncio.create_task(rest_client.delete(f"inboxes/{inbox.id}"))
        await until_blocked(system_database)
    assert (await removal).status_code == 202
    assert [row.state for row in await rows(system_database)] == ["cancelled"]
