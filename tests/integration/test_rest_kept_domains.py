"""Domains that are there before their first inbox."""

import uuid
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text

from control_plane.inboxes.kept_domains import forget_deleted_domains
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import pointers, problem

SHOP = {"name": "shop.example"}


async def add(client: httpx.AsyncClient, **headers: str) -> dict[str, Any]:
    answer = await client.post("domains", json=SHOP, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/domains/{made['id']}"
    return made


async def test_a_new_domain_has_a_key_and_says_what_to_publish(rest_client: httpx.AsyncClient) -> None:
    made = await add(rest_client)
    (key,) = made["dkim_keys"]
    assert (made["name"], made["kept"], key["selector"], key["state"]) == ("shop.example", True, "pm1", "active")
    shown = {(each["type"], each["name"]): each["value"] for each in made["records"]}
    assert set(shown) == {("TXT", "pm1._domainkey"), ("TXT", "_dmarc")}
    assert shown["TXT", "pm1._domainkey"].startswith("v=DKIM1; k=rsa; p=MII")
    assert (await rest_client.get(f"domains/{made['id']}")).json() == made


async def test_a_domain_is_found_by_its_name(rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient) -> None:
    made = await add(rest_client)
    assert (await rest_client.post("domains", json={"name": "other.example"})).status_code == 201
    found = (await rest_client.get("domains", params={"name": "SHOP.example"})).json()["items"]
    assert [each["id"] for each in found] == [made["id"]]
    assert (await other_client.get("domains", params={"name": "SHOP.example"})).json()["items"] == []
    told = problem(await rest_client.get("domains", params={"name": "shop"}), 422, "invalid-input")
    assert pointers(told) == ["query/name"]


async def test_its_first_inbox_takes_it_over_with_its_key(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    made = await add(rest_client)
    inbox = {"email_address": "hello@shop.example", "vps_id": str(await make_server(system_database, tenant))}
    answer = await rest_client.post(f"workspaces/{tenant.workspace_id}/inboxes", json=inbox)
    assert answer.status_code == 201, answer.text
    shown = (await rest_client.get(f"domains/{made['id']}")).json()
    assert (shown["dkim_keys"], shown["kept"]) == (made["dkim_keys"], True)
    assert {each["type"] for each in shown["records"]} == {"TXT", "MX"}
    problem(await rest_client.delete(f"domains/{made['id']}"), 409, "conflict")


async def test_what_is_deleted_is_free_again(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, system_database: Database
) -> None:
    made = await add(rest_client)
    problem(await other_client.post("domains", json=SHOP), 409, "domain-in-use")
    problem(await other_client.delete(f"domains/{made['id']}"), 404, "not-found")
    assert (await rest_client.delete(f"domains/{made['id']}")).status_code == 204
    problem(await rest_client.delete(f"domains/{made['id']}"), 404, "not-found")
    problem(await rest_client.get(f"domains/{made['id']}"), 404, "not-found")
    problem(await rest_client.patch(f"domains/{made['id']}", json={"client_records": True}), 404, "not-found")
    problem(await rest_client.post(f"domains/{made['id']}/dkim:rotate"), 404, "not-found")
    assert (await rest_client.get("domains")).json()["items"] == []
    theirs = await add(other_client)
    assert theirs["dkim_keys"] != made["dkim_keys"]
    await forget_deleted_domains(system_database)
    async with system_database.system() as session:
        kept = (await session.scalars(text("SELECT id::text FROM domains"))).all()
        keys = (await session.scalars(text("SELECT domain_id::text FROM dkim_keys"))).all()
    assert (kept, keys) == ([theirs["id"]], [theirs["id"]])


async def test_a_domain_that_is_there_is_kept_from_now_on(rest_client: httpx.AsyncClient) -> None:
    made = await add(rest_client)
    assert await add(rest_client) == made
    assert len((await rest_client.get("domains")).json()["items"]) == 1


async def test_a_workspace_with_a_domain_stays(rest_client: httpx.AsyncClient) -> None:
    workspace = (await rest_client.post("workspaces", json={"name": "Shop"})).json()["id"]
    made = (await rest_client.post("domains", json=SHOP | {"workspace_id": workspace})).json()
    assert made["workspace_id"] == workspace
    assert "domains" in problem(await rest_client.delete(f"workspaces/{workspace}"), 409, "conflict")["detail"]
    assert (await rest_client.delete(f"domains/{made['id']}")).status_code == 204
    assert (await rest_client.delete(f"workspaces/{workspace}")).status_code == 204
    problem(await rest_client.post("domains", json=SHOP | {"workspace_id": workspace}), 404, "not-found")


async def test_a_repeated_request_adds_once(rest_client: httpx.AsyncClient) -> None:
    made = await add(rest_client, **{"Idempotency-Key": "shop"})
    assert (await rest_client.delete(f"domains/{made['id']}")).status_code == 204
    assert await add(rest_client, **{"Idempotency-Key": "shop"}) == made
    assert (await rest_client.get("domains")).json()["items"] == []


@pytest.mark.parametrize(
    ("name", "status", "slug"),
    [
        ("co.uk", 422, "public-suffix"),
        ("shop", 422, "invalid-input"),
        ("shop..example", 422, "invalid-input"),
        ("a@shop.example", 422, "invalid-input"),
        ("mx-1.penguin.example", 409, "domain-in-use"),
    ],
)
async def test_what_can_be_nobodys_domain_is_refused(
    rest_client: httpx.AsyncClient, name: str, status: int, slug: str
) -> None:
    body = problem(await rest_client.post("domains", json={"name": name}), status, slug)
    assert status == 409 or pointers(body) == ["/name"]


async def test_a_name_is_kept_as_dns_has_it(rest_client: httpx.AsyncClient) -> None:
    answer = await rest_client.post("domains", json={"name": "BÜCHER.example"})
    assert answer.json()["name"] == "xn--bcher-kva.example"


async def test_a_plan_allows_so_many(rest_client: httpx.AsyncClient, owner_url: str, tenant: SomeTenant) -> None:
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("UPDATE tenants SET plan_overrides = '{\"domains\": 1}' WHERE id = %s", [tenant.id])
    assert (await rest_client.post("domains", json={"name": "other.example"})).status_code == 201
    problem(await rest_client.post("domains", json=SHOP), 403, "plan-limit-reached")


async def test_without_inboxes_there_is_no_key_to_rotate(rest_client: httpx.AsyncClient) -> None:
    made = await add(rest_client)
    problem(await rest_client.post(f"domains/{made['id']}/dkim:rotate"), 409, "conflict")
    problem(await rest_client.post(f"domains/{uuid.uuid4()}/dkim:rotate"), 404, "not-found")


async def test_what_was_done_is_in_the_record(rest_client: httpx.AsyncClient) -> None:
    made = await add(rest_client)
    await rest_client.delete(f"domains/{made['id']}")
    deeds = [each["act"] for each in (await rest_client.get("audit")).json()["items"]]
    assert deeds[:2] == ["DELETE /domains/{domain_id}", "POST /domains"]
