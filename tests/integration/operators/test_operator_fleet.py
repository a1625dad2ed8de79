import httpx
from sqlalchemy import text

from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_sends, make_server


async def test_the_servers_of_all_tenants_are_listed_but_for_those_that_are_gone(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    other = await make_server(system_database, other_tenant)
    gone = await make_server(system_database, other_tenant)
    await make_sends(system_database, inbox, 2)
    async with system_database.system() as session:
        await session.execute(
            text("UPDATE vps_servers SET last_seen_at = now(), link_session = gen_random_uuid() WHERE id = :id"),
            {"id": inbox.vps_id},
        )
        await session.execute(text("UPDATE vps_servers SET status = 'deleted' WHERE id = :id"), {"id": gone})

    servers = {each["vps_id"]: each for each in (await operator.get("fleet")).json()["items"]}

    assert set(servers) == {str(inbox.vps_id), str(other)}
    linked, silent = servers[str(inbox.vps_id)], servers[str(other)]
    assert (linked["reachable"], linked["queue"]) == (True, {"waiting": 2, "leased": 0, "postfix": None})
    assert (silent["reachable"], silent["tenant_id"]) == (False, str(other_tenant.id))


async def test_the_health_of_all_tenants_servers_is_told_and_can_be_one_tenants(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, other_tenant: SomeTenant
) -> None:
    other = await make_server(system_database, other_tenant)
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO server_health (vps_id, tenant_id, checked_at, state, metrics, agent_version_since)"
                " SELECT id, tenant_id, now(), 'fail', '{\"load_1m\": 9}', now() FROM vps_servers WHERE id = :id"
            ),
            {"id": other},
        )
    everything = (await operator.get("fleet/health")).json()
    assert everything["totals"] == {"fail": 1, "warn": 0, "unknown": 1, "ok": 0}
    assert [each["vps_id"] for each in everything["items"]] == [str(other), str(inbox.vps_id)]
    one = (await operator.get("fleet/health", params={"tenant": str(inbox.tenant.id)})).json()
    assert [each["vps_id"] for each in one["items"]] == [str(inbox.vps_id)]
    loaded = (await operator.get("fleet/health", params={"where": "load_1m > 5"})).json()
    assert [each["vps_id"] for each in loaded["items"]] == [str(other)]
