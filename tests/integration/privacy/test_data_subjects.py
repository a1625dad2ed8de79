import asyncio
import base64
import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from control_plane.delivery.apply import apply_events
from control_plane.messages.erased import ERASED
from control_plane.privacy import erase, export
from control_plane.privacy.erase import erase_data_subjects
from db.session import Database
from protos.agent.v1.delivery_pb2 import DeliveryEvent, RemoteReply
from tests.integration.database import SomeTenant, until_blocked
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of
from tests.integration.queueing import lease_all
from tests.integration.rest import pointers, problem

ANNA = {"address": "Anna@example.net"}
PAYLOAD = b"Subject: Fish\r\n\r\nDear Anna\r\n"


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


async def listen(client: httpx.AsyncClient) -> None:
    """Have an endpoint, so that events are recorded."""
    made = await client.post("webhooks", json={"url": "https://hooks.example.net/"})
    assert made.status_code == 201


async def deliver(database: Database, inbox: SomeInbox, recipient: str, code: str = "2.0.0") -> uuid.UUID:
    """Make a send to a recipient that comes to its end; its server names the recipient."""
    (send_id,) = await make_sends(database, inbox, 1, recipient=recipient, payload=PAYLOAD)
    (leased,) = [each for each in await lease_all(database, inbox) if each.id == send_id]
    await apply_events(database, inbox.vps_id, [answer(leased.id, leased.lease_token, code, recipient)])
    return send_id


def answer(send_id: uuid.UUID, lease: uuid.UUID, code: str, recipient: str) -> DeliveryEvent:
    kind = DeliveryEvent.KIND_DELIVERED if code.startswith("2") else DeliveryEvent.KIND_BOUNCED
    reply = RemoteReply(enhanced_status=code, text=f"<{recipient}> it is", recipient=recipient, relay="mx.example.net")
    return DeliveryEvent(
        event_id=uuid.uuid4().bytes,
        send_id=send_id.bytes,
        lease_token=lease.bytes,
        at_ms=1_800_000_000_000,
        kind=kind,
        queue_id="4cYx1",
        reply=reply,
    )


async def ask(client: httpx.AsyncClient) -> str:
    answer = await client.post("/data-subjects:erase", json=ANNA)
    assert answer.status_code == 202, answer.text
    return f"data-subjects/erasures/{answer.json()['id']}"


def everything(owner: psycopg.Connection) -> str:
    """Return all rows of all tables as text."""
    names = owner.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    ).fetchall()
    found = ""
    for (name,) in names:
        found += "\n".join(row[0] for row in owner.execute(f'SELECT t::text FROM "{name}" t')).lower()  # noqa: S608
    return found


async def test_all_that_is_held_is_exported_and_nothing_of_others(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await listen(rest_client)
    sent = await deliver(system_database, inbox, "ANNA@example.net")
    bounced = await deliver(system_database, inbox, "anna@example.net", "5.1.1")
    await deliver(system_database, inbox, "bert@example.net")
    answer = await rest_client.post("/data-subjects:export", json=ANNA)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    held = answer.json()
    assert [(each["id"], each["state"]) for each in held["messages"]] == [
        (str(sent), "delivered"),
        (str(bounced), "bounced"),
    ]
    assert base64.b64decode(held["messages"][0]["content_base64"]) == PAYLOAD
    assert held["messages"][1]["timeline"][-1]["detail"]["recipient"] == "anna@example.net"
    assert [each["type"] for each in held["events"]] == ["message.delivered", "message.bounced"]
    assert [each["reason"] for each in held["suppressions"]] == ["hard-bounce"]
    assert "bert" not in json.dumps(held)
    foreign = (await other_client.post("/data-subjects:export", json=ANNA)).json()
    assert (foreign["messages"], foreign["events"], foreign["suppressions"]) == ([], [], [])


async def test_an_export_comes_in_pages(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 2)
    ids = await make_sends(system_database, inbox, 3, recipient="anna@example.net")
    first = (await rest_client.post("/data-subjects:export", json=ANNA)).json()
    second = (await rest_client.post("/data-subjects:export", json={**ANNA, "after": first["next"]})).json()
    assert [each["id"] for each in first["messages"] + second["messages"]] == sorted(map(str, ids))
    assert second["next"] is None


async def test_after_an_erasure_nothing_in_the_database_says_the_address(
    rest_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erase, "PAGE", 1)
    await listen(rest_client)
    ids = [
        await deliver(system_database, inbox, "ANNA@example.net"),
        await deliver(system_database, inbox, "anna@example.net", "5.7.1"),
    ]
    other = await deliver(system_database, inbox, "bert@example.net")
    owner.execute(
        "INSERT INTO server_commands (id, tenant_id, vps_id, kind, command, requested_by, deadline, output)"
        " VALUES (gen_random_uuid(), %s, %s, 'tail', '', 'x', now(), 'to=<Anna@example.net>, sent')",
        [inbox.tenant.id, inbox.vps_id],
    )
    assert "anna@example.net" in everything(owner)

    path = await ask(rest_client)
    assert await erase_data_subjects(system_database) == 1

    kept = everything(owner)
    assert "anna" not in kept
    assert base64.b64encode(PAYLOAD).decode() not in kept
    assert PAYLOAD.hex() in kept, "of the other recipient"
    done = (await rest_client.get(path)).json()
    assert (done["address"], done["messages"], done["events"]) == (None, 2, 2)
    assert done["finished_at"]
    assert await states_of(system_database, [*ids, other]) == ["delivered", "bounced", "delivered"]
    shown = (await rest_client.get(f"messages/{ids[1]}")).json()
    assert (shown["recipient"], shown["subject"]) == (ERASED, ERASED)
    assert shown["timeline"][-1]["detail"] == {"queue_id": "4cYx1", "enhanced_status": "5.7.1", "delay_seconds": 0.0}
    assert await erase_data_subjects(system_database) == 0


async def test_an_erased_address_stays_suppressed_as_a_hash_that_differs_between_tenants(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    inbox: SomeInbox,
) -> None:
    for client in (rest_client, other_client):
        await ask(client)
    await erase_data_subjects(system_database)
    listed = [(await client.get("suppressions")).json()["items"] for client in (rest_client, other_client)]
    (own,), (theirs,) = listed
    assert own["address"].startswith("hmac-sha256:")
    assert own["address"] != theirs["address"]
    assert hashlib.sha256(b"anna@example.net").hexdigest() not in own["address"]
    held = await make_sends(system_database, inbox, 1, recipient="aNNa@example.net")
    free = await make_sends(system_database, inbox, 1, recipient="bert@example.net")
    await lease_all(system_database, inbox)
    assert await states_of(system_database, held + free) == ["suppressed", "queued"]
    assert (await rest_client.delete(f"suppressions/{own['id']}")).status_code == 204
    again = await make_sends(system_database, inbox, 1, recipient="anna@example.net")
    await lease_all(system_database, inbox)
    assert await states_of(system_database, again) == ["queued"]


async def test_what_waits_is_cancelled_at_once_and_what_a_server_has_is_waited_for(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    (leased_id,) = await make_sends(system_database, inbox, 1, recipient="anna@example.net")
    (leased,) = await lease_all(system_database, inbox)
    waiting = await make_sends(system_database, inbox, 1, recipient="Anna@example.net")
    path = await ask(rest_client)
    assert await states_of(system_database, waiting) == ["cancelled"]
    assert await ask(rest_client) == path

    assert await erase_data_subjects(system_database) == 0
    assert (await rest_client.get(path)).json()["finished_at"] is None
    assert (await rest_client.get(f"messages/{leased_id}")).json()["recipient"] == "anna@example.net"

    event = answer(leased.id, leased.lease_token, "2.0.0", "anna@example.net")
    await apply_events(system_database, inbox.vps_id, [event])
    assert await erase_data_subjects(system_database) == 1
    assert (await rest_client.get(path)).json()["messages"] == 2


async def test_who_asks_while_an_erasure_ends_is_told_of_another_that_erases_what_came_meanwhile(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, owner: psycopg.Connection
) -> None:
    first = await ask(rest_client)
    with owner.transaction():
        # The erasure has looked for what is left, and cannot end yet.
        owner.execute("LOCK TABLE suppression_keys IN SHARE MODE")
        ending = asyncio.create_task(erase_data_subjects(system_database))
        await until_blocked(system_database)
        await make_sends(system_database, inbox, 1, recipient="anna@example.net")
        asking = asyncio.create_task(ask(rest_client))
        blocked = asyncio.create_task(until_blocked(system_database, 2))
        await asyncio.wait({asking, blocked}, return_when=asyncio.FIRST_COMPLETED)
        blocked.cancel()
    assert await ending == 1
    assert await asking != first
    assert await erase_data_subjects(system_database) == 1
    assert "anna" not in everything(owner)


async def test_news_that_comes_after_an_erasure_brings_nothing_back(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, owner: psycopg.Connection
) -> None:
    await listen(rest_client)
    await make_sends(system_database, inbox, 1, recipient="anna@example.net")
    (leased,) = await lease_all(system_database, inbox)
    owner.execute("UPDATE messages SET state = 'uncertain', final_at = now()")
    await ask(rest_client)
    assert await erase_data_subjects(system_database) == 1
    await apply_events(
        system_database, inbox.vps_id, [answer(leased.id, leased.lease_token, "5.1.1", "anna@example.net")]
    )
    assert await states_of(system_database, [leased.id]) == ["bounced"]
    assert "anna" not in everything(owner)


async def test_dead_letters_are_ended_and_what_was_erased_cannot_be_sent_again(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, owner: psycopg.Connection
) -> None:
    ids = await make_sends(system_database, inbox, 1, recipient="anna@example.net")
    owner.execute("UPDATE messages SET state = 'dead'")
    await ask(rest_client)
    assert await erase_data_subjects(system_database) == 1
    assert await states_of(system_database, ids) == ["uncertain"]
    detail = problem(await rest_client.post(f"messages/{ids[0]}/resend"), 409, "conflict")["detail"]
    assert "not kept" in detail


async def test_the_audit_names_an_erasure_and_not_the_address(
    rest_client: httpx.AsyncClient, system_database: Database
) -> None:
    await ask(rest_client)
    async with system_database.system() as session:
        deeds: list[Any] = list(await session.execute(text("SELECT act, subject, fields FROM audit_events")))
    assert [deed.act for deed in deeds] == ["POST /data-subjects:erase"]
    assert deeds[0].fields == ["address"]
    assert "anna" not in str(deeds).lower()


@pytest.mark.parametrize("path", ["/data-subjects:export", "/data-subjects:erase"])
async def test_what_is_no_address_is_refused(rest_client: httpx.AsyncClient, path: str) -> None:
    answer = await rest_client.post(path, json={"address": "anna"})
    assert pointers(problem(answer, 422, "invalid-input")) == ["/address"]


async def test_anothers_erasure_is_not_there(rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient) -> None:
    problem(await other_client.get(await ask(rest_client)), 404, "not-found")
