"""Dead letters at the operators' door: listed in pages, shown with their error, retried and dropped."""

import uuid

import httpx
import pytest
from sqlalchemy import text

from db.session import Database
from tests.integration.mail_rows import SomeInbox, make_sends, states_of
from tests.integration.operators.door import acts_of
from tests.integration.rest import problem


async def test_dead_letters_are_listed_in_pages(operator: httpx.AsyncClient, dead: list[uuid.UUID]) -> None:
    first = (await operator.get("queue/dead", params={"limit": 2})).json()
    assert [letter["id"] for letter in first["items"]] == [str(dead[0]), str(dead[1])]
    rest = (await operator.get("queue/dead", params={"limit": 2, "after": first["next"]})).json()
    assert [letter["id"] for letter in rest["items"]] == [str(dead[2])]
    assert rest["next"] is None
    assert rest["items"][0]["reason"] == "its server never told of it"


async def test_a_dead_letter_is_shown_with_its_error_and_neither_recipient_nor_content(
    operator: httpx.AsyncClient, system_database: Database, dead: list[uuid.UUID], inbox: SomeInbox
) -> None:
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO message_events (tenant_id, message_id, event_id, kind, at, applied, detail)"
                " VALUES (:tenant, :id, gen_random_uuid(), 'failed', now(), true,"
                """ '{"detail": "the relay broke", "text": "550 no b@walrus.example"}')"""
            ),
            {"tenant": inbox.tenant.id, "id": dead[0]},
        )
    answer = await operator.get(f"queue/dead/{dead[0]}")
    body = answer.json()
    assert (body["state"], body["reason"], body["leases"]) == ("dead", "its server never told of it", 5)
    assert [(event["kind"], event["detail"]) for event in body["events"]] == [("failed", "the relay broke")]
    assert "walrus" not in answer.text
    assert "Fish" not in answer.text


async def test_a_letter_is_retried_with_who_and_why(
    operator: httpx.AsyncClient, system_database: Database, dead: list[uuid.UUID]
) -> None:
    answer = await operator.post(f"queue/dead/{dead[0]}:retry", json={"reason": "its server is back"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "accepted"
    assert [event["kind"] for event in answer.json()["events"]] == ["retried"]
    assert await states_of(system_database, dead) == ["accepted", "dead", "dead"]
    [act] = await acts_of(operator)
    assert (act["act"], act["subject"]) == ("queue.retry", {"message_id": str(dead[0])})
    assert (act["actor"], act["reason"]) == ("on call", "its server is back")


async def test_a_letter_is_dropped_without_a_reason(
    operator: httpx.AsyncClient, system_database: Database, dead: list[uuid.UUID]
) -> None:
    assert (await operator.post(f"queue/dead/{dead[1]}:drop")).json()["state"] == "uncertain"
    assert await states_of(system_database, dead) == ["dead", "uncertain", "dead"]
    [act] = await acts_of(operator)
    assert (act["act"], act["subject"], act["reason"]) == ("queue.drop", {"message_id": str(dead[1])}, None)


@pytest.mark.parametrize("verb", ["retry", "drop"])
async def test_what_is_not_dead_is_left_alone_and_its_state_is_told(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, verb: str
) -> None:
    [waiting] = await make_sends(system_database, inbox, 1)
    body = problem(await operator.post(f"queue/dead/{waiting}:{verb}"), 409, "conflict")
    assert body["detail"].startswith("The send is accepted,")
    problem(await operator.get(f"queue/dead/{waiting}"), 404, "not-found")
    problem(await operator.post(f"queue/dead/{uuid.uuid4()}:{verb}"), 404, "not-found")
    problem(await operator.post(f"queue/dead/none:{verb}"), 404, "not-found")
    assert await acts_of(operator) == []
