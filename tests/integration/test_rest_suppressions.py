import uuid

import httpx
import pytest

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server, states_of
from tests.integration.queueing import lease_all
from tests.integration.rest import pointers, problem


async def add(client: httpx.AsyncClient, address: str, **more: str) -> dict[str, str]:
    answer = await client.post("suppressions", json={"address": address, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, str] = answer.json()
    return found


async def addresses(client: httpx.AsyncClient, **query: str) -> set[str]:
    return {item["address"] for item in (await client.get("suppressions", params=query)).json()["items"]}


async def test_an_address_is_suppressed_found_and_taken_off_again(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    made = await add(rest_client, "Anna@Example.NET", reason="unsubscribe")
    assert (made["address"], made["reason"], made["source"]) == ("anna@example.net", "unsubscribe", "api")
    path = f"suppressions/{made['id']}"
    assert (await rest_client.get(path)).json() == made
    held = await make_sends(system_database, inbox, 1, recipient="ANNA@example.net")
    await lease_all(system_database, inbox)
    assert await states_of(system_database, held) == ["suppressed"]

    assert (await rest_client.delete(path)).status_code == 204
    problem(await rest_client.get(path), 404, "not-found")
    problem(await rest_client.delete(path), 404, "not-found")
    assert await addresses(rest_client) == set()
    free = await make_sends(system_database, inbox, 1, recipient="anna@example.net")
    await lease_all(system_database, inbox)
    assert await states_of(system_database, free) == ["queued"]


async def test_one_that_is_in_force_stays_as_it_is_and_one_taken_off_begins_anew(
    rest_client: httpx.AsyncClient,
) -> None:
    first = await add(rest_client, "anna@example.net", reason="complaint")
    assert await add(rest_client, "ANNA@example.net") == first
    await rest_client.delete(f"suppressions/{first['id']}")
    again = await add(rest_client, "anna@example.net")
    assert (again["id"], again["reason"]) == (first["id"], "manual")


async def test_suppressions_are_filtered_and_paged(rest_client: httpx.AsyncClient) -> None:
    for number in range(5):
        await add(rest_client, f"n{number}@example.net", reason="complaint" if number % 2 else "manual")
    assert await addresses(rest_client, reason="complaint") == {"n1@example.net", "n3@example.net"}
    assert await addresses(rest_client, address="N2@example.net") == {"n2@example.net"}
    assert len(await addresses(rest_client, source="api")) == 5
    assert await addresses(rest_client, source="import") == set()
    found: list[str] = []
    after: dict[str, str] = {}
    for size in (2, 2, 1):
        page = (await rest_client.get("suppressions", params={"limit": "2", **after})).json()
        assert len(page["items"]) == size
        found += [item["address"] for item in page["items"]]
        after = {"after": page["next"]}
    assert page["next"] is None
    assert sorted(found) == [f"n{number}@example.net" for number in range(5)]


@pytest.mark.parametrize("address", ["", "anna", "a@b", "a b@example.net", "hmac-sha256:00", "a@[127.0.0.1]"])
async def test_what_is_no_address_is_refused(rest_client: httpx.AsyncClient, address: str) -> None:
    answer = await rest_client.post("suppressions", json={"address": address})
    assert pointers(problem(answer, 422, "invalid-input")) == ["/address"]
    problem(await rest_client.get("suppressions", params={"address": address}), 422, "invalid-input")


async def test_a_reason_that_is_ours_to_give_is_refused(rest_client: httpx.AsyncClient) -> None:
    for reason in ("hard-bounce", "erasure", "because"):
        answer = await rest_client.post("suppressions", json={"address": "a@example.net", "reason": reason})
        assert pointers(problem(answer, 422, "invalid-input")) == ["/reason"]


async def test_anothers_suppression_is_not_there(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient
) -> None:
    path = f"suppressions/{(await add(rest_client, 'anna@example.net'))['id']}"
    unknown = (await other_client.get(f"suppressions/{uuid.uuid4()}")).json()["detail"]
    for answer in (await other_client.get(path), await other_client.delete(path)):
        assert problem(answer, 404, "not-found")["detail"] == unknown
    assert await addresses(other_client) == set()
    assert await addresses(rest_client) == {"anna@example.net"}
