import asyncio
import uuid

import httpx
import pytest
from sqlalchemy import text

from control_plane.cli import installation
from control_plane.errors import InvalidInput, NotFound, PlanLimitReached
from control_plane.queuer.allot import Line
from control_plane.queuer.statements import claim
from control_plane.tenancy.plans import set_plan
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server
from tests.integration.rest import problem

MEMBER = {"name": "another", "role": "member"}


async def give(database: Database, tenant: SomeTenant, plan: str, **own: int | None) -> None:
    async with database.system() as session:
        await set_plan(session, tenant.id, plan, own)


async def used(client: httpx.AsyncClient) -> dict[str, tuple[int, int | None]]:
    answer = (await client.get("usage")).json()
    return {each["what"]: (each["used"], each["limit"]) for each in answer["limits"]}


async def test_a_plan_that_is_full_is_said_and_what_is_removed_makes_room(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    await give(system_database, tenant, "starter", api_keys=2)
    made = await rest_client.post("api-keys", json=MEMBER)
    assert made.status_code == 201
    told = problem(await rest_client.post("api-keys", json=MEMBER), 403, "plan-limit-reached")
    assert "allows 2 api keys, and there are 2" in told["detail"]
    assert (await used(rest_client))["api_keys"] == (2, 2)
    assert (await rest_client.delete(f"api-keys/{made.json()['id']}")).status_code == 204
    assert (await rest_client.post("api-keys", json=MEMBER)).status_code == 201


async def test_of_many_at_once_as_many_are_made_as_there_is_room_for(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    await give(system_database, tenant, "starter", api_keys=3)
    answers = await asyncio.gather(*(rest_client.post("api-keys", json=MEMBER) for _ in range(6)))
    assert sorted(each.status_code for each in answers) == [201, 201, 403, 403, 403, 403]


async def test_servers_domains_and_inboxes_are_counted(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    await make_server(system_database, other_tenant)
    assert await used(rest_client) == {
        "servers": (1, None),
        "domains": (1, None),
        "inboxes": (1, None),
        "api_keys": (1, None),
        "webhooks": (0, None),
        "sends_a_day": (0, None),
    }
    await give(system_database, tenant, "starter", servers=1)
    new = {"provider": "local", "size": "starter"}
    path = f"workspaces/{tenant.workspace_id}/vps"
    problem(await rest_client.post(path, json=new), 403, "plan-limit-reached")
    await give(system_database, tenant, "starter", servers=None)
    assert (await rest_client.post(path, json=new)).status_code == 201


async def test_sends_beyond_the_day_wait(system_database: Database, tenant: SomeTenant) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    await make_sends(system_database, inbox, 4)
    await give(system_database, tenant, "starter", sends_a_day=2)
    line = Line(inbox.vps_id, 1)
    assert [len(await claim(system_database, {line: 1}, 300)) for _ in range(3)] == [1, 1, 0]
    async with system_database.system() as session:
        await session.execute(text("UPDATE inbox_daily_sends SET day = day - 1"))
    assert len(await claim(system_database, {line: 1}, 300)) == 1


async def test_a_plan_or_a_limit_that_there_is_not_is_refused(system_database: Database, tenant: SomeTenant) -> None:
    with pytest.raises(NotFound):
        await give(system_database, tenant, "golden")
    with pytest.raises(InvalidInput):
        await give(system_database, tenant, "starter", fish=1)
    async with system_database.system() as session:
        with pytest.raises(NotFound):
            await set_plan(session, uuid.uuid4(), "starter", {})


async def test_the_command_line_tells_of_a_limit_in_one_line(
    monkeypatch: pytest.MonkeyPatch, database: FreshDatabase, system_database: Database, tenant: SomeTenant
) -> None:
    monkeypatch.setattr(installation, "_system_url", lambda _instance: database.url("penguin_system"))
    await give(system_database, tenant, "starter", domains=0)
    with pytest.raises(PlanLimitReached) as caught:
        async with installation.system_session("main") as session:
            await session.execute(
                text("INSERT INTO domains (tenant_id, name) VALUES (:tenant, 'shop.example')"), {"tenant": tenant.id}
            )
    assert "domains" in str(caught.value)
    assert "\n" not in str(caught.value)
