"""Tenants at the operators' door: how they stand, and their end."""

import uuid

import httpx
from sqlalchemy import text

from control_plane.privacy.end_of_tenant import erase_tenants
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem


async def test_tenants_are_listed_in_pages_and_shown(
    operator: httpx.AsyncClient, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    first = (await operator.get("tenants", params={"limit": 1})).json()
    rest = (await operator.get("tenants", params={"limit": 1, "after": first["next"]})).json()
    listed = [first["items"][0], rest["items"][0]]
    assert [each["id"] for each in listed] == sorted(map(str, (tenant.id, other_tenant.id)))
    shown = (await operator.get(f"tenants/{tenant.id}")).json()
    assert (shown["state"], shown["erased_at"]) == ("active", None)
    problem(await operator.get(f"tenants/{uuid.uuid4()}"), 404, "not-found")


async def test_a_tenant_is_erased_once_it_has_no_servers(
    operator: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    await make_server(system_database, tenant)
    problem(await operator.post(f"tenants/{tenant.id}:erase"), 409, "conflict")
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET status = 'deleted'"))
    begun = await operator.post(f"tenants/{tenant.id}:erase", json={"reason": "they left"})
    assert (begun.status_code, begun.json()["state"]) == (202, "erasing")
    assert (await operator.post(f"tenants/{tenant.id}:erase")).status_code == 202
    await erase_tenants(system_database)
    erased = (await operator.get(f"tenants/{tenant.id}")).json()
    assert erased["state"] == "erased"
    assert erased["erased_at"]
    problem(await operator.post(f"tenants/{tenant.id}:erase"), 409, "conflict")
    problem(await operator.post(f"tenants/{uuid.uuid4()}:erase"), 404, "not-found")
    assert (await operator.get(f"tenants/{other_tenant.id}")).json()["state"] == "active"
    acts = [each for each in (await operator.get("acts")).json()["items"] if each["act"] == "tenant.erase"]
    assert [(each["subject"]["tenant_id"], each["reason"]) for each in reversed(acts)] == [
        (str(tenant.id), "they left"),
        (str(tenant.id), None),
    ]
