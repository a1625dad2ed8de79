import asyncio

import httpx
import pytest
from sqlalchemy import text

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.rest import pointers, problem


@pytest.fixture
async def pool(rest_client: httpx.AsyncClient, tenant: SomeTenant) -> str:
    made = await rest_client.post(f"workspaces/{tenant.workspace_id}/ip-pools", json={"name": "newsletters"})
    return str(made.headers["location"]).removeprefix("/api/v1/")


async def test_who_has_the_present_answer_gets_none(rest_client: httpx.AsyncClient, pool: str) -> None:
    tag = (await rest_client.get(pool)).headers["etag"]
    answer = await rest_client.get(pool, headers={"If-None-Match": f'"0.0", {tag}'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    await rest_client.patch(pool, json={"name": "bills"})
    answer = await rest_client.get(pool, headers={"If-None-Match": tag})
    assert answer.json()["name"] == "bills"
    assert answer.headers["etag"] != tag


async def test_a_change_of_what_was_seen_is_done_and_another_refused(rest_client: httpx.AsyncClient, pool: str) -> None:
    seen = {"If-Match": (await rest_client.get(pool)).headers["etag"]}
    assert (await rest_client.patch(pool, json={"name": "bills"}, headers=seen)).json()["name"] == "bills"
    problem(await rest_client.patch(pool, json={"name": "letters"}, headers=seen), 412, "precondition-failed")
    problem(await rest_client.delete(pool, headers=seen), 412, "precondition-failed")
    assert (await rest_client.get(pool)).json()["name"] == "bills"
    anything = {"If-Match": "*"}
    assert (await rest_client.delete(pool, headers=anything)).status_code == 204
    problem(await rest_client.delete(pool, headers=anything), 404, "not-found")


async def test_of_two_who_have_seen_the_same_one_changes_it(rest_client: httpx.AsyncClient, pool: str) -> None:
    seen = {"If-Match": (await rest_client.get(pool)).headers["etag"]}
    answers = await asyncio.gather(
        *(rest_client.patch(pool, json={"name": f"pool {number}"}, headers=seen) for number in range(5))
    )
    assert sorted(each.status_code for each in answers) == [200, 412, 412, 412, 412]


async def test_a_tag_that_is_none_is_of_nothing(rest_client: httpx.AsyncClient, pool: str) -> None:
    for tag in ("", "x", '"', '"zz.zz"', "W/*"):
        answer = await rest_client.patch(pool, json={"name": "bills"}, headers={"If-Match": tag})
        problem(answer, 412, "precondition-failed")


async def test_what_changes_by_itself_refuses_nobodys_change(
    rest_client: httpx.AsyncClient, system_database: Database
) -> None:
    made = (await rest_client.post("api-keys", json={"name": "second", "role": "member"})).json()
    path = f"api-keys/{made['id']}"
    first = (await rest_client.get(path)).headers["etag"]
    async with system_database.system() as session:
        await session.execute(text("UPDATE api_keys SET last_used_at = now() WHERE id = :id"), {"id": made["id"]})
    assert (await rest_client.get(path, headers={"If-None-Match": first})).status_code == 200
    assert (await rest_client.delete(path, headers={"If-Match": first})).status_code == 204


async def test_only_the_fields_that_are_asked_for_are_shown(
    rest_client: httpx.AsyncClient, tenant: SomeTenant, pool: str
) -> None:
    shown = await rest_client.get(pool, params={"fields": "id,name"})
    assert shown.json() == {"id": pool.rpartition("/")[2], "name": "newsletters"}
    assert shown.headers["etag"] != (await rest_client.get(pool)).headers["etag"]
    # It is the same thing, whatever is shown of it.
    changed = await rest_client.patch(pool, json={"name": "bills"}, headers={"If-Match": shown.headers["etag"]})
    assert changed.status_code == 200
    keys = (await rest_client.get("api-keys", params=[("fields", "name"), ("fields", "prefix")])).json()
    assert [set(item) for item in keys["items"]] == [{"name", "prefix"}]
    assert "next" in keys


async def test_an_unknown_field_is_named(rest_client: httpx.AsyncClient, pool: str) -> None:
    told = problem(await rest_client.get(pool, params={"fields": "id,nmae"}), 422, "invalid-input")
    assert "'nmae'" in told["detail"]
    assert pointers(told) == ["query/fields"]
    problem(await rest_client.get(pool, params={"fields": ""}), 422, "invalid-input")
    problem(await rest_client.get(pool, params={"fields": "a" * 2001}), 422, "invalid-input")
