import uuid

import httpx
import pytest
from sqlalchemy import text

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import pointers, problem


async def names_of(database: Database, tenant: SomeTenant) -> list[str]:
    """Return what the tenant's workspaces are called, as the rows have it."""
    async with database.system() as session:
        named = text("SELECT name FROM workspaces WHERE tenant_id = :id ORDER BY name")
        return list((await session.scalars(named, {"id": tenant.id})).all())


async def test_a_workspace_is_made_found_renamed_and_deleted(
    rest_client: httpx.AsyncClient, tenant: SomeTenant
) -> None:
    made = await rest_client.post("workspaces", json={"name": "Fishing"})
    assert made.status_code == 201
    path = f"workspaces/{made.json()['id']}"
    assert made.headers["location"] == f"/api/v1/{path}"
    assert (await rest_client.get(path)).json() == made.json()
    assert (await rest_client.patch(path, json={"name": "Diving"})).json()["name"] == "Diving"
    listed = {item["id"]: item["name"] for item in (await rest_client.get("workspaces")).json()["items"]}
    assert listed == {str(tenant.workspace_id): "Sales", made.json()["id"]: "Diving"}
    assert (await rest_client.delete(path)).status_code == 204
    for answer in (await rest_client.get(path), await rest_client.delete(path), await rest_client.get(f"{path}/vps")):
        problem(answer, 404, "not-found")
    problem(await rest_client.post(f"{path}/ip-pools", json={"name": "one"}), 404, "not-found")
    problem(await rest_client.post("webhooks", json=hook(made.json()["id"])), 404, "not-found")
    assert [item["name"] for item in (await rest_client.get("workspaces")).json()["items"]] == ["Sales"]


def hook(workspace_id: object) -> dict[str, object]:
    return {"url": "https://hooks.example.net/", "workspace_id": str(workspace_id)}


async def test_a_workspace_with_something_in_it_stays(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    path = f"workspaces/{tenant.workspace_id}"
    await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    await rest_client.post(f"{path}/ip-pools", json={"name": "one"})
    assert (await rest_client.post("webhooks", json=hook(tenant.workspace_id))).status_code == 201
    detail = problem(await rest_client.delete(path), 409, "conflict")["detail"]
    assert "servers and inboxes and IP pools and webhooks" in detail
    assert (await rest_client.get(path)).status_code == 200


async def test_a_workspace_of_a_deleted_server_can_go(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    await make_server(system_database, tenant, status="deleted")
    assert (await rest_client.delete(f"workspaces/{tenant.workspace_id}")).status_code == 204


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\tb", "\u2028", "x" * 256, None])
async def test_a_name_that_is_none_is_refused(rest_client: httpx.AsyncClient, name: str | None) -> None:
    for answer in (
        await rest_client.post("workspaces", json={"name": name}),
        await rest_client.patch("tenant", json={"name": name}),
    ):
        assert pointers(problem(answer, 422, "invalid-input")) == ["/name"]


async def test_anothers_workspace_is_not_there(other_client: httpx.AsyncClient, tenant: SomeTenant) -> None:
    path = f"workspaces/{tenant.workspace_id}"
    foreign = [
        await other_client.get(path),
        await other_client.patch(path, json={"name": "Mine"}),
        await other_client.delete(path),
    ]
    unknown = await other_client.get(f"workspaces/{uuid.uuid4()}")
    for answer in foreign:
        assert problem(answer, 404, "not-found")["detail"] == unknown.json()["detail"]


async def test_a_tenant_sees_itself_and_changes_its_name(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, tenant: SomeTenant
) -> None:
    shown = (await rest_client.get("tenant")).json()
    assert (shown["id"], shown["name"], shown["state"], shown["plan"]) == (
        str(tenant.id),
        "Penguin Post",
        "active",
        "unlimited",
    )
    assert (await rest_client.patch("tenant", json={"name": "Penguin Mail"})).json()["name"] == "Penguin Mail"
    assert (await rest_client.get("tenant")).json()["name"] == "Penguin Mail"
    assert (await other_client.get("tenant")).json()["name"] == "Walrus Mail"
