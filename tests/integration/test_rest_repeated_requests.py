import hashlib
import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from control_plane.messages.forget_keys import forget_old_keys
from control_plane.rest import kept_answers
from control_plane.sealing import add_master_key
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.rest import problem

KEY = {"Idempotency-Key": "one-2026-11-22"}
POOL = {"name": "newsletters"}
_KEPT = text("SELECT key, status, body FROM kept_answers ORDER BY key")
_IN_FLIGHT = text(
    "INSERT INTO kept_answers (tenant_id, key, request_hmac, created_at)"
    " VALUES (:tenant, :key, decode(:sha256, 'hex'), now() - make_interval(mins => :age))"
)


async def kept(database: Database) -> list[Any]:
    async with database.system() as session:
        return list((await session.execute(_KEPT)).all())


async def pools(client: httpx.AsyncClient, tenant: SomeTenant) -> int:
    return len((await client.get(f"workspaces/{tenant.workspace_id}/ip-pools")).json()["items"])


async def test_a_repeated_request_is_done_once_and_answered_alike(
    rest_client: httpx.AsyncClient, tenant: SomeTenant
) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    first = await rest_client.post(path, json=POOL, headers=KEY)
    again = await rest_client.post(path, json=POOL, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await pools(rest_client, tenant) == 1


async def test_a_request_is_known_again_after_the_master_key_was_changed(
    rest_client: httpx.AsyncClient, tenant: SomeTenant, rest_settings: Settings
) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    first = await rest_client.post(path, json=POOL, headers=KEY)
    add_master_key(rest_settings.sealing_key_file)
    again = await rest_client.post(path, json=POOL, headers=KEY)
    assert (again.status_code, again.headers["idempotency-replayed"], again.content) == (201, "true", first.content)
    problem(await rest_client.post(path, json={"name": "bills"}, headers=KEY), 422, "idempotency-key-reused")


async def test_another_request_under_the_key_is_refused(rest_client: httpx.AsyncClient, tenant: SomeTenant) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    await rest_client.post(path, json=POOL, headers=KEY)
    problem(await rest_client.post(path, json={"name": "bills"}, headers=KEY), 422, "idempotency-key-reused")
    body = {"name": "third", "role": "member"}
    problem(await rest_client.post("api-keys", json=body, headers=KEY), 422, "idempotency-key-reused")
    assert await pools(rest_client, tenant) == 1


async def test_a_request_that_failed_leaves_its_key_free(
    rest_client: httpx.AsyncClient, tenant: SomeTenant, system_database: Database
) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    problem(await rest_client.post(f"workspaces/{uuid.uuid4()}/ip-pools", json=POOL, headers=KEY), 404, "not-found")
    assert await kept(system_database) == []
    assert (await rest_client.post(path, json=POOL, headers=KEY)).status_code == 201


async def test_tenants_do_not_share_keys(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    for client, whose in ((rest_client, tenant), (other_client, other_tenant)):
        made = await client.post(f"workspaces/{whose.workspace_id}/ip-pools", json=POOL, headers=KEY)
        assert made.status_code == 201
        assert "idempotency-replayed" not in made.headers


async def test_while_the_first_is_worked_on_the_second_is_told_to_ask_again(
    rest_client: httpx.AsyncClient, tenant: SomeTenant, api_database: Database
) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    lock = f"{tenant.id}{KEY['Idempotency-Key']}"
    async with api_database.tenant_connection(tenant.id) as first:
        await first.execute(kept_answers._LOCK, (lock,))
        answer = await rest_client.post(path, json=POOL, headers=KEY)
    problem(answer, 409, "request-in-flight")
    assert int(answer.headers["retry-after"]) > 0
    assert await pools(rest_client, tenant) == 0
    assert (await rest_client.post(path, json=POOL, headers=KEY)).status_code == 201


async def test_an_answer_that_shows_a_secret_is_not_kept(
    rest_client: httpx.AsyncClient, system_database: Database
) -> None:
    body = {"name": "second", "role": "member"}
    made = await rest_client.post("api-keys", json=body, headers=KEY)
    assert made.status_code == 201
    told = problem(await rest_client.post("api-keys", json=body, headers=KEY), 409, "answer-shown-once")
    assert made.headers["location"] in told["detail"]
    [(_, status, content)] = await kept(system_database)
    assert (status, content) == (201, None)
    assert len((await rest_client.get("api-keys")).json()["items"]) == 2


@pytest.mark.parametrize("key", ["", "a" * 256, "with space"])
async def test_a_key_that_is_none_is_refused(rest_client: httpx.AsyncClient, tenant: SomeTenant, key: str) -> None:
    answer = await rest_client.post(
        f"workspaces/{tenant.workspace_id}/ip-pools", json=POOL, headers={"Idempotency-Key": key}
    )
    problem(answer, 422, "invalid-input")
    assert await pools(rest_client, tenant) == 0


@pytest.mark.parametrize(("age", "expected"), [(1, (409, "request-in-flight")), (6, (404, "not-found"))])
async def test_a_request_that_never_ended_holds_its_key_for_some_minutes(
    rest_client: httpx.AsyncClient,
    tenant: SomeTenant,
    system_database: Database,
    *,
    age: int,
    expected: tuple[int, str],
) -> None:
    path = f"vps/{uuid.uuid4()}/mail-server/restart"
    sha256 = hashlib.sha256(f"POST /api/v1/{path}\n".encode()).hexdigest()
    row = {"tenant": tenant.id, "key": KEY["Idempotency-Key"], "sha256": sha256, "age": age}
    async with system_database.system() as session:
        await session.execute(_IN_FLIGHT, row)
    problem(await rest_client.post(path, headers=KEY), *expected)


async def test_a_request_that_came_to_nothing_leaves_its_key_free_where_no_transaction_is_held(
    rest_client: httpx.AsyncClient, tenant: SomeTenant
) -> None:
    first, other = uuid.uuid4(), uuid.uuid4()
    for server in (first, first, other):
        problem(await rest_client.post(f"vps/{server}/mail-server/restart", headers=KEY), 404, "not-found")


async def test_answers_are_forgotten_after_a_day(
    rest_client: httpx.AsyncClient, tenant: SomeTenant, system_database: Database
) -> None:
    path = f"workspaces/{tenant.workspace_id}/ip-pools"
    for name in ("old", "young"):
        await rest_client.post(path, json={"name": name}, headers={"Idempotency-Key": name})
    async with system_database.system() as session:
        aged = "UPDATE kept_answers SET created_at = now() - interval '25 hours' WHERE key = 'old'"
        await session.execute(text(aged))
    assert await forget_old_keys(system_database) == 1
    assert [key for key, *_ in await kept(system_database)] == ["young"]
