"""The queue as operators see and hold it, over all tenants, with each act recorded."""

import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from control_plane.queuer.allot import Line
from control_plane.queuer.pauses import Held, Subject, pause
from control_plane.queuer.statements import claim
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.operators.door import acts_of
from tests.integration.rest import pointers, problem


async def leased(database: Database, inbox: SomeInbox) -> int:
    return len(await claim(database, {Line(inbox.vps_id, 1): 1}, 300))


async def test_depth_age_and_reasons_are_shown_over_all_tenants(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    other = await make_inbox(system_database, other_tenant, await make_server(system_database, other_tenant))
    await make_sends(system_database, inbox, 2)
    await make_sends(system_database, other, 3, priority=0)
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET last_seen_at = now()"))
        await session.execute(text("UPDATE inboxes SET daily_send_limit = 0"))

    body = (await operator.get("queue")).json()

    depth = {each["tenant_id"]: each for each in body["depth"]}
    assert (depth[str(inbox.tenant.id)]["priority"], depth[str(inbox.tenant.id)]["due"]) == ("normal", 2)
    assert (depth[str(other.tenant.id)]["priority"], depth[str(other.tenant.id)]["due"]) == ("high", 3)
    assert depth[str(other.tenant.id)]["oldest_due"]
    standing = {each["inbox_id"]: each for each in body["standing"]}
    assert standing[str(inbox.id)]["why"] == "the inbox has used its daily limit of 0"
    assert standing[str(inbox.id)]["tenant_id"] == str(inbox.tenant.id)
    assert body["pauses"] == []


@pytest.mark.parametrize("subject", ["vps", "inbox", "tenant", "priority"])
async def test_what_is_paused_waits_until_it_is_resumed_and_both_are_recorded(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, subject: str
) -> None:
    await make_sends(system_database, inbox, 1)
    of = {"vps": inbox.vps_id, "inbox": inbox.id, "tenant": inbox.tenant.id, "priority": "normal"}[subject]
    body = {"subject": subject, "of": str(of), "reason": "a look"}

    made = await operator.post("queue/pauses", json=body)

    assert made.status_code == 201
    shown = made.json()
    assert (shown["subject"], shown["of"], shown["reason"], shown["by_operator"]) == (subject, str(of), "a look", True)
    assert shown["tenant_id"] == (None if subject == "priority" else str(inbox.tenant.id))
    assert made.headers["location"] == f"/operator/v1/queue/pauses/{shown['id']}"
    assert (await operator.get("queue/pauses")).json() == {"items": [shown], "next": None}
    assert (await operator.get("queue")).json()["pauses"] == [shown]
    assert await leased(system_database, inbox) == 0

    place = f"http://penguin.test{made.headers['location']}"
    assert (await operator.delete(place, params={"reason": "it is well"})).status_code == 204
    problem(await operator.delete(place), 404, "not-found")
    assert await leased(system_database, inbox) == 1

    resumed, paused = await acts_of(operator)
    assert (paused["act"], paused["reason"]) == ("queue.pause", "a look")
    assert (resumed["act"], resumed["reason"]) == ("queue.resume", "it is well")
    assert (paused["door"], paused["actor"], paused["request_id"]) == ("rest", "on call", made.headers["x-request-id"])
    assert paused["key_id"] is not None
    name = "priority" if subject == "priority" else f"{subject}_id"
    assert paused["subject"][name] == resumed["subject"][name] == str(of)


async def test_pausing_again_changes_nothing_and_is_not_recorded(operator: httpx.AsyncClient, inbox: SomeInbox) -> None:
    body = {"subject": "inbox", "of": str(inbox.id), "reason": "first"}
    first = await operator.post("queue/pauses", json=body)
    second = await operator.post("queue/pauses", json=body | {"reason": "second"})
    assert second.json() == first.json()
    assert [act["reason"] for act in await acts_of(operator)] == ["first"]


async def test_a_priority_of_one_tenant_is_paused_for_no_other(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    await make_sends(system_database, inbox, 1)
    body = {"subject": "priority", "of": "normal", "tenant_id": str(other_tenant.id)}
    assert (await operator.post("queue/pauses", json=body)).json()["tenant_id"] == str(other_tenant.id)
    assert await leased(system_database, inbox) == 1


async def test_a_tenants_own_pause_is_shown_and_not_the_operators_to_take_back(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    async with system_database.system() as session:
        own = await pause(session, Held(Subject.INBOX, inbox.tenant.id, inbox_id=inbox.id), "a holiday")
    [shown] = (await operator.get("queue/pauses")).json()["items"]
    assert (shown["id"], shown["by_operator"]) == (str(own.id), False)
    problem(await operator.delete(f"queue/pauses/{own.id}"), 404, "not-found")
    assert await acts_of(operator) == []


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        ({"subject": "priority", "of": "urgent"}, 422, "invalid-input"),
        ({"subject": "inbox"}, 422, "invalid-input"),
        ({"subject": "inbox", "of": "none"}, 422, "invalid-input"),
        ({"subject": "tenant", "of": str(uuid.uuid4())}, 404, "not-found"),
        ({"subject": "world", "of": "x"}, 422, "invalid-input"),
        ({"subject": "priority", "of": "low", "by_operator": False}, 422, "invalid-input"),
        ({"subject": "priority", "of": "low", "reason": "x" * 501}, 422, "invalid-input"),
        ({"subject": "priority", "of": "low", "reason": "a\0b"}, 422, "invalid-input"),
        ({"subject": "priority", "of": "low", "reason": "two\nlines"}, 422, "invalid-input"),
    ],
)
async def test_what_cannot_be_paused_is_refused_and_not_recorded(
    operator: httpx.AsyncClient, body: dict[str, Any], status: int, slug: str
) -> None:
    problem(await operator.post("queue/pauses", json=body), status, slug)
    assert await acts_of(operator) == []


async def test_a_reason_in_the_query_is_held_to_the_same(operator: httpx.AsyncClient) -> None:
    made = (await operator.post("queue/pauses", json={"subject": "priority", "of": "low", "reason": "é " * 250})).json()
    for reason in ("a\0b", "two\nlines", "x" * 501):
        answer = await operator.delete(f"queue/pauses/{made['id']}", params={"reason": reason})
        assert pointers(problem(answer, 422, "invalid-input")) == ["query/reason"]
    assert (await operator.get("queue/pauses")).json()["items"] == [made]


async def test_a_body_that_is_too_long_is_refused(operator: httpx.AsyncClient) -> None:
    answer = await operator.post("queue/pauses", json={"subject": "priority", "of": "low", "reason": "x" * 100_000})
    problem(answer, 413, "too-large")


async def test_an_unknown_field_is_named(operator: httpx.AsyncClient) -> None:
    answer = await operator.post("queue/pauses", json={"subject": "priority", "of": "low", "why": "x"})
    assert pointers(problem(answer, 422, "invalid-input")) == ["/why"]
