"""Dead letters at the operators' door: listed in pages, shown with their error, retried and dropped."""

import uuid

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.operators.scopes import OperatorScope
from db.session import Database
from tests.integration.mail_rows import SomeInbox, make_sends, states_of
from tests.integration.operators.door import acts_of, make_key, operator_client
from tests.integration.rest import problem


async def test_dead_letters_are_listed_in_pages(operator: httpx.AsyncClient, dead: list[uuid.UUID]) -> None:
    first = (await operator.get("queue/dead", params={"limit": 2})).json()
    assert [letter["id"] for letter in first["items"]] == [str(dead[0]), str(dead[1])]
    rest = (await operator.get("queue/dead", params={"limit": 2, "after": first["next"]})).json()
    assert [letter["id"] for letter in rest["items"]] == [str(dead[2])]
    assert rest["next"] is None
    assert rest["items"][0]["reason"] == "its server never told of it"


async def test_a_dead_letter_is_shown_with_its_error_and_neither_whose_it_is_nor_its_content(
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


async def test_recipients_are_masked_unless_asked_for_which_is_recorded(
    operator: httpx.AsyncClient, operators_app: FastAPI, system_database: Database, dead: list[uuid.UUID]
) -> None:
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET recipient = 'anna@mail.example.net'"))
    for path in ("queue/dead", f"queue/dead/{dead[0]}"):
        assert "anna" not in (await operator.get(path)).text
        assert "anna@mail.example.net" in (await operator.get(path, params={"reveal": True})).text
    shown = (await operator.get(f"queue/dead/{dead[0]}")).json()["recipient"]
    assert shown == "a…@m….net"
    assert [len(each) for each in await revealed(operator)] == [1, 3]
    only_reading = await make_key(system_database, "reads", [OperatorScope.READ_QUEUE])
    async with operator_client(operators_app, only_reading.key) as reader:
        assert (await reader.get("queue/dead")).status_code == 200
        problem(await reader.get("queue/dead", params={"reveal": True}), 403, "forbidden")
    assert len(await revealed(operator)) == 2


async def revealed(operator: httpx.AsyncClient) -> list[list[str]]:
    """Return the ids of what was shown with addresses, the latest first."""
    acts = (await operator.get("acts")).json()["items"]
    return [each["subject"]["ids"] for each in acts if each["act"] == "addresses.reveal"]
