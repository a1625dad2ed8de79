"""What was found, and looking again, over REST and at the command line."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import preflight
from control_plane.cli.main import app
from control_plane.pipelines.runs import start_run
from control_plane.preflight.findings import Check, Finding, Verdict
from control_plane.preflight.results import failed_for, keep_findings
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem

LISTED = Finding(Check.BLOCKLIST, "list.example", Verdict.FAILED, "listed by The List: spam")
POINTED = Finding(Check.REVERSE_DNS, "10.77.1.1", Verdict.PASSED, "they name each other")


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(system_database, tenant)


async def find(database: Database, tenant: SomeTenant, vps_id: uuid.UUID, *findings: Finding) -> None:
    async with database.system() as session:
        await keep_findings(session, tenant.id, vps_id, "10.77.1.1", findings)


async def runs(database: Database) -> list[tuple[str, bool]]:
    """Return the kind of each run, and whether it may be looked at now."""
    query = text(
        "SELECT kind, NOT EXISTS (SELECT FROM pipeline_steps s WHERE s.run_id = r.id AND s.claimed_until > now())"
        " FROM pipeline_runs r ORDER BY created_at"
    )
    async with database.system() as session:
        return [(row[0], row[1]) for row in await session.execute(query)]


async def test_what_was_found_is_shown_worst_first(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    nothing = (await rest_client.get(f"vps/{vps_id}/preflight")).json()
    assert nothing == {"vps_id": str(vps_id), "verdict": None, "address": None, "checks": []}
    await find(system_database, tenant, vps_id, POINTED, LISTED)
    body = (await rest_client.get(f"vps/{vps_id}/preflight")).json()
    assert (body["verdict"], body["address"]) == ("failed", "10.77.1.1")
    assert [(check["kind"], check["verdict"]) for check in body["checks"]] == [
        ("blocklist", "failed"),
        ("reverse_dns", "passed"),
    ]


async def test_what_is_not_asked_any_more_is_not_shown_any_more(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    await find(system_database, tenant, vps_id, POINTED, LISTED)
    await find(system_database, tenant, vps_id, POINTED)
    body = (await rest_client.get(f"vps/{vps_id}/preflight")).json()
    assert [check["kind"] for check in body["checks"]] == ["reverse_dns"]
    async with system_database.system() as session:
        assert await failed_for(session, vps_id, Check.BLOCKLIST, "10.77.1.1") == timedelta()


async def test_a_server_in_use_gets_a_run_for_it_once(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    first = await rest_client.post(f"vps/{vps_id}/preflight")
    assert first.status_code == 202
    assert (await rest_client.post(f"vps/{vps_id}/preflight")).json() == first.json()
    assert await runs(system_database) == [("vps.preflight", True)]


async def test_a_server_that_waits_for_its_port_is_looked_at_at_once(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    vps_id = await make_server(system_database, tenant, status="provisioning")
    async with system_database.system() as session:
        run_id = await start_run(session, tenant.id, "vps.provision", vps_id)
        await session.execute(text("UPDATE pipeline_runs SET state = 'needs_person'"))
        step = text(
            "INSERT INTO pipeline_steps (run_id, tenant_id, position, name, claimed_until)"
            " VALUES (:run, :tenant, 0, 'preflight', now() + interval '15 minutes')"
        )
        await session.execute(step, {"run": run_id, "tenant": tenant.id})
    assert await runs(system_database) == [("vps.provision", False)]
    assert (await rest_client.post(f"vps/{vps_id}/preflight")).json()["run_id"] == str(run_id)
    assert await runs(system_database) == [("vps.provision", True)]


async def test_a_server_without_an_address_or_that_goes_has_nothing_to_look_at(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    unmade = await make_server(system_database, tenant, status="provisioning")
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET ip_address = NULL WHERE id = :id"), {"id": unmade})
    problem(await rest_client.post(f"vps/{unmade}/preflight"), 409, "conflict")
    gone = await make_server(system_database, tenant, status="deleted")
    problem(await rest_client.post(f"vps/{gone}/preflight"), 409, "conflict")


async def test_another_tenants_server_is_not_there(
    other_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    await find(system_database, tenant, vps_id, LISTED)
    problem(await other_client.get(f"vps/{vps_id}/preflight"), 404, "not-found")
    problem(await other_client.post(f"vps/{vps_id}/preflight"), 404, "not-found")


async def test_the_api_may_read_results_and_write_none(
    database: FreshDatabase, system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    await find(system_database, tenant, vps_id, LISTED)
    api = Database(database.url("penguin_api"), pool_size=1)
    try:
        count = text("SELECT count(*) FROM preflight_results")
        async with api.tenant(tenant.id) as session:
            assert await session.scalar(count) == 1
        async with api.tenant(other_tenant.id) as session:
            assert await session.scalar(count) == 0
        for statement in ("DELETE FROM preflight_results", "SELECT FROM refused_addresses"):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with api.tenant(tenant.id) as session:
                    await session.execute(text(statement))
    finally:
        await api.close()


async def test_the_command_waits_for_the_worker_and_shows_what_it_found(
    database: FreshDatabase, system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await find(system_database, tenant, vps_id, POINTED)
    opened = 0

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        nonlocal opened
        opened += 1
        own = Database(database.url("penguin_system"), pool_size=1)
        if opened == 3:
            # The worker has looked meanwhile.
            await find(own, tenant, vps_id, LISTED)
        async with own.system() as transaction:
            yield transaction
        await own.close()

    monkeypatch.setattr(preflight, "system_session", session)
    monkeypatch.setattr(preflight, "_LOOK_SECONDS", 0.0)
    # The command runs an event loop of its own.
    result = await asyncio.to_thread(CliRunner().invoke, app, ["vps", "preflight", str(vps_id), "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert (shown["verdict"], [check["kind"] for check in shown["checks"]]) == ("failed", ["blocklist"])
    assert await runs(system_database) == [("vps.preflight", True)]
