import httpx
import pytest
from fastapi import FastAPI

from control_plane.pipelines.runs import start_run
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import client_of, pointers, problem, walked


@pytest.fixture
async def workspaces(rest_client: httpx.AsyncClient) -> list[str]:
    """A list of several pages."""
    for number in range(3):
        assert (await rest_client.post("workspaces", json={"name": f"W{number}"})).status_code == 201
    return [each["id"] for each in (await rest_client.get("workspaces")).json()["items"]]


async def next_of(client: httpx.AsyncClient, path: str, **query: str | int) -> str:
    cursor = (await client.get(path, params={"limit": 1, **query})).json()["next"]
    assert isinstance(cursor, str)
    return cursor


async def test_a_list_goes_on_in_larger_pages_and_with_other_fields(
    rest_client: httpx.AsyncClient, workspaces: list[str]
) -> None:
    after = await next_of(rest_client, "workspaces")
    page = (await rest_client.get("workspaces", params={"after": after, "limit": 500, "fields": "id"})).json()
    assert page == {"items": [{"id": each} for each in workspaces[1:]], "next": None}


async def test_an_altered_cursor_is_a_problem_of_its_own(rest_client: httpx.AsyncClient, workspaces: list[str]) -> None:
    cursor = await next_of(rest_client, "workspaces")
    for altered in (cursor[:-1], cursor.swapcase(), f"{cursor}A", workspaces[0], "", "\x00"):
        answer = await rest_client.get("workspaces", params={"after": altered})
        assert pointers(problem(answer, 400, "invalid-cursor")) == ["query/after"]


async def test_a_cursor_of_another_list_is_none(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, workspaces: list[str]
) -> None:
    cursor = await next_of(rest_client, "workspaces")
    problem(await other_client.get("workspaces", params={"after": cursor}), 400, "invalid-cursor")
    problem(await rest_client.get("domains", params={"after": cursor}), 400, "invalid-cursor")
    servers = f"workspaces/{workspaces[0]}/vps"
    problem(await rest_client.get(servers, params={"after": cursor}), 400, "invalid-cursor")
    problem(await rest_client.get("workspaces", params={"after": cursor, "x": "y"}), 400, "invalid-cursor")


async def test_filters_in_another_order_are_the_same_ones(rest_client: httpx.AsyncClient) -> None:
    for address in ("anna@example.net", "berta@example.net"):
        assert (await rest_client.post("suppressions", json={"address": address})).status_code == 201
    cursor = await next_of(rest_client, "suppressions", reason="manual", source="api")
    same = await rest_client.get(f"suppressions?after={cursor}&source=api&reason=manual")
    assert len(same.json()["items"]) == 1
    other = await rest_client.get(f"suppressions?after={cursor}&reason=manual")
    problem(other, 400, "invalid-cursor")


async def test_whoever_may_not_ask_is_told_so_first(
    rest_app: FastAPI, rest_client: httpx.AsyncClient, workspaces: list[str]
) -> None:
    cursor = await next_of(rest_client, "workspaces")
    key = rest_client.headers["authorization"].removeprefix("Bearer ")
    async with client_of(rest_app, f"{key[:-4]}aaaa") as stranger:
        for after in (cursor, "x"):
            problem(await stranger.get("workspaces", params={"after": after}), 401, "unauthenticated")


async def test_lists_are_whole_when_asked_for_one_thing_at_a_time(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    pools = f"workspaces/{tenant.workspace_id}/ip-pools"
    async with system_database.system() as session:
        # Asked for in one transaction, they are of one moment.
        for kind in ("vps.provision", "vps.power_off", "vps.power_on"):
            await start_run(session, tenant.id, kind, vps_id)
    for number in range(3):
        assert (await rest_client.post(pools, json={"name": f"P{number}"})).status_code == 201
        hook = {"url": f"https://hooks.example.com/{number}"}
        assert (await rest_client.post("webhooks", json=hook)).status_code == 201
    for path in (pools, "webhooks", f"vps/{vps_id}/runs"):
        whole = (await rest_client.get(path)).json()
        assert (len(whole["items"]), whole["next"]) == (3, None)
        assert await walked(rest_client, path) == whole["items"]
