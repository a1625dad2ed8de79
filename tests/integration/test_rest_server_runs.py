import uuid

import httpx
import pytest
from sqlalchemy import text

from control_plane.pipelines.runs import start_run
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(system_database, tenant)


async def make_run(database: Database, tenant: SomeTenant, vps_id: uuid.UUID, state: str) -> uuid.UUID:
    async with database.system() as session:
        run_id = await start_run(session, tenant.id, "vps.provision", vps_id)
        await session.execute(
            text("UPDATE pipeline_runs SET state = :state, error = 'quota', remedy = 'ask for more' WHERE id = :run"),
            {"run": run_id, "state": state},
        )
        await session.execute(
            text(
                "INSERT INTO pipeline_steps (run_id, tenant_id, position, name, state, attempts, claimed_until)"
                " VALUES (:run, :tenant, 0, 'create_server', 'waiting', 3, now() + interval '1 hour')"
            ),
            {"run": run_id, "tenant": tenant.id},
        )
    return run_id


async def test_runs_are_shown_with_what_they_wait_for(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    await make_run(system_database, tenant, vps_id, "undone")
    run_id = await make_run(system_database, tenant, vps_id, "needs_person")

    runs = (await rest_client.get(f"vps/{vps_id}/runs")).json()["items"]

    assert [run["state"] for run in runs] == ["needs_person", "undone"]
    assert (runs[0]["id"], runs[0]["error"], runs[0]["remedy"]) == (str(run_id), "quota", "ask for more")
    (step,) = runs[0]["steps"]
    assert (step["name"], step["attempts"], step["undone_at"]) == ("create_server", 3, None)
    assert step["looked_at_again"] is not None


async def test_a_run_that_waits_for_a_person_is_looked_at_again_at_once(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    run_id = await make_run(system_database, tenant, vps_id, "needs_person")

    answer = await rest_client.post(f"vps/{vps_id}/runs/{run_id}/resume")

    assert (answer.status_code, answer.json()["id"], answer.json()["state"]) == (202, str(run_id), "needs_person")
    (run,) = (await rest_client.get(f"vps/{vps_id}/runs")).json()["items"]
    assert run["steps"][0]["looked_at_again"] is None


async def test_a_run_that_waits_for_nobody_is_not_resumed(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    run_id = await make_run(system_database, tenant, vps_id, "running")
    problem(await rest_client.post(f"vps/{vps_id}/runs/{run_id}/resume"), 409, "conflict")
    problem(await rest_client.post(f"vps/{vps_id}/runs/{uuid.uuid4()}/resume"), 404, "not-found")


async def test_runs_of_others_are_not_there(
    other_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    run_id = await make_run(system_database, tenant, vps_id, "needs_person")
    problem(await other_client.get(f"vps/{vps_id}/runs"), 404, "not-found")
    problem(await other_client.post(f"vps/{vps_id}/runs/{run_id}/resume"), 404, "not-found")
