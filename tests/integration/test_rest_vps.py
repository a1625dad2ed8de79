import datetime as dt
import uuid
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from control_plane.data_keys.keys import open_sealed
from control_plane.provisioning.requests import probe_password_place
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.telemetry_pb2 import HealthReport, Host
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import pointers, problem

LOCAL = {"provider": "local", "size": "starter"}


@pytest.fixture
def path(tenant: SomeTenant) -> str:
    return f"workspaces/{tenant.workspace_id}/vps"


async def runs(database: Database) -> list[Any]:
    async with database.system() as session:
        return list((await session.execute(text("SELECT * FROM pipeline_runs ORDER BY created_at"))).all())


async def test_a_server_is_asked_for_and_its_provisioning_started(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    answer = await rest_client.post(path, json=LOCAL)
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["location"] == f"/api/v1/vps/{body['id']}"
    assert (body["provider"], body["size"], body["status"], body["ip_address"]) == (
        "local", "starter", "provisioning", None,
    )  # fmt: skip
    assert body["hostname"].endswith(".penguin.example")
    (run,) = await runs(system_database)
    assert (run.tenant_id, run.kind, str(run.subject_id), run.state) == (
        tenant.id, "vps.provision", body["id"], "waiting",
    )  # fmt: skip


async def test_the_probe_password_is_sealed_for_its_row(
    rest_client: httpx.AsyncClient, system_database: Database, rest_settings: Settings, path: str
) -> None:
    vps_id = uuid.UUID((await rest_client.post(path, json=LOCAL)).json()["id"])
    async with system_database.system() as session:
        sealed = await session.scalar(text("SELECT probe_password_sealed FROM vps_servers"))
        assert sealed is not None
        sealer = Sealer.of_file(rest_settings.sealing_key_file)
        assert await open_sealed(session, sealer, sealed, probe_password_place(vps_id))


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"provider": "nowhere"}, "/provider"),
        ({"size": "gigantic"}, "/size"),
        ({"region": "moon"}, "/region"),
        ({"image": "x"}, "/image"),
        ({"size": None}, "/size"),
    ],
)
async def test_what_the_provider_does_not_have_is_refused(
    rest_client: httpx.AsyncClient, system_database: Database, path: str, change: dict[str, Any], pointer: str
) -> None:
    body = problem(await rest_client.post(path, json=LOCAL | change), 422, "invalid-input")
    assert pointers(body) == [pointer]
    assert await runs(system_database) == []


async def test_a_server_shows_its_steps_and_that_nobody_has_heard_of_it(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    vps_id = (await rest_client.post(path, json=LOCAL)).json()["id"]
    (run,) = await runs(system_database)
    moment = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
    async with system_database.system() as session:
        for position, (name, state) in enumerate([("create_server", "done"), ("enrol", "running")]):
            await session.execute(
                text(
                    "INSERT INTO pipeline_steps (run_id, tenant_id, position, name, state, attempts, started_at)"
                    " VALUES (:run, :tenant, :position, :name, :state, 1, :at)"
                ),
                {"run": run.id, "tenant": tenant.id, "position": position, "name": name, "state": state, "at": moment},
            )
    body = (await rest_client.get(f"vps/{vps_id}")).json()
    assert (body["reachable"], body["clock"], body["last_report"]) == (False, None, None)
    assert body["provisioning"]["kind"] == "vps.provision"
    assert [(step["name"], step["state"]) for step in body["provisioning"]["steps"]] == [
        ("create_server", "done"),
        ("enrol", "running"),
    ]
    assert body["provisioning"]["steps"][0]["started_at"] == "2026-11-21T12:00:00Z"


async def test_a_server_that_reports_is_reachable_and_shows_its_report(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    report = MessageToJson(HealthReport(at_ms=1, host=Host(load_1m=0.5)), preserving_proto_field_name=True)
    async with system_database.system() as session:
        await session.execute(
            text(
                "UPDATE vps_servers SET link_session = gen_random_uuid(), last_seen_at = now(),"
                " clock_offset_ms = 12345, clock_measured_at = now() WHERE id = :id"
            ),
            {"id": vps_id},
        )
        await session.execute(
            text(
                "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, report)"
                " VALUES (:id, :tenant, now(), CAST(:report AS jsonb))"
            ),
            {"id": vps_id, "tenant": tenant.id, "report": report},
        )
    body = (await rest_client.get(f"vps/{vps_id}")).json()
    assert body["reachable"] is True
    assert (body["clock"]["offset_seconds"], body["clock"]["in_tolerance"]) == (12.345, False)
    assert body["ip_address"] == "10.77.1.1"
    assert body["last_report"]["health"]["host"]["load_1m"] == 0.5


async def test_servers_are_listed_in_pages_without_the_deleted(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    servers = sorted([str(await make_server(system_database, tenant)) for _ in range(3)])
    await make_server(system_database, tenant, status="deleted")
    first = (await rest_client.get(path, params={"limit": 2})).json()
    assert [server["id"] for server in first["items"]] == servers[:2]
    rest = (await rest_client.get(path, params={"limit": 2, "after": first["next"]})).json()
    assert ([server["id"] for server in rest["items"]], rest["next"]) == (servers[2:], None)


async def test_servers_are_found_by_status_and_provider(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    ready, other = [str(await make_server(system_database, tenant)) for _ in range(2)]
    ordered = str(await make_server(system_database, tenant, status="provisioning"))
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET provider = 'byo' WHERE id = :id"), {"id": other})

    async def found(**wanted: str) -> set[str]:
        return {each["id"] for each in (await rest_client.get(path, params=wanted)).json()["items"]}

    assert await found(status="ready") == {ready, other}
    assert await found(provider="byo") == {other}
    assert await found(status="provisioning", provider="local") == {ordered}
    assert await found(status="provisioning", provider="byo") == set()
    for wrong in ({"status": "asleep"}, {"provider": "BYO\0"}):
        told = problem(await rest_client.get(path, params=wrong), 422, "invalid-input")
        assert pointers(told) == [f"query/{next(iter(wrong))}"]


async def test_a_server_is_removed_in_the_background_and_asked_for_once(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant)
    for _ in range(2):
        answer = await rest_client.delete(f"vps/{vps_id}")
        assert (answer.status_code, answer.json()["status"]) == (202, "ready")
        assert answer.json()["removal_requested_at"] == answer.json()["draining_since"]
    assert [(run.kind, run.subject_id) for run in await runs(system_database)] == [("vps.decommission", vps_id)]


async def test_a_server_that_was_never_ready_is_removed_without_being_drained(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant, status="provisioning")
    body = (await rest_client.delete(f"vps/{vps_id}")).json()
    assert (body["status"], body["draining_since"]) == ("deleting", None)


async def test_a_server_with_inboxes_stays(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    problem(await rest_client.delete(f"vps/{inbox.vps_id}"), 409, "conflict")
    assert await runs(system_database) == []


async def test_the_server_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, path: str
) -> None:
    vps_id = await make_server(system_database, tenant)
    problem(await other_client.get(f"vps/{vps_id}"), 404, "not-found")
    problem(await other_client.delete(f"vps/{vps_id}"), 404, "not-found")
    problem(await other_client.post(path, json=LOCAL), 404, "not-found")
    assert await runs(system_database) == []
