"""`penguin vps`: list, show, watch, resume, orphans, reap, against a real database."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner, Result

from control_plane.cli import vps, vps_deeds, vps_watch
from control_plane.cli.vps import vps_commands
from control_plane.cli.vps_deeds import vps_deed_commands
from control_plane.errors import PenguinError
from control_plane.pipelines.runs import start_run
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(database: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        try:
            async with opened.system() as transaction:
                yield transaction
        finally:
            await opened.close()

    for module in (vps, vps_deeds, vps_watch):
        monkeypatch.setattr(module, "system_session", session)

    def run(*words: str, answer: str | None = None) -> Result:
        commands = vps_deed_commands if words[0] == "renew-certificate" else vps_commands
        return CliRunner().invoke(commands, list(words), input=answer)

    return run


async def make_run(database: Database, tenant: SomeTenant, state: str) -> uuid.UUID:
    vps_id = await make_server(database, tenant)
    async with database.system() as session:
        run_id = await start_run(session, tenant.id, "vps.provision", vps_id)
        await session.execute(
            text("UPDATE pipeline_runs SET state = :state, error = 'quota', remedy = 'ask for more' WHERE id = :run"),
            {"run": run_id, "state": state},
        )
        await session.execute(
            text(
                "INSERT INTO pipeline_steps (run_id, tenant_id, position, name, state, attempts, error)"
                " VALUES (:run, :tenant, 0, 'create_server', 'waiting', 3, 'quota')"
            ),
            {"run": run_id, "tenant": tenant.id},
        )
    return vps_id


async def test_a_run_that_waits_for_a_person_is_shown_watched_and_resumed(
    system_database: Database, tenant: SomeTenant, invoke: Invoke
) -> None:
    vps_id = str(await make_run(system_database, tenant, "needs_person"))

    listed = await asyncio.to_thread(invoke, "list", "--json")
    shown = await asyncio.to_thread(invoke, "show", vps_id)
    watched = await asyncio.to_thread(invoke, "watch", vps_id)
    as_json = await asyncio.to_thread(invoke, "watch", vps_id, "--json")
    resumed = await asyncio.to_thread(invoke, "resume", vps_id)

    assert [each["id"] for each in json.loads(listed.stdout)] == [vps_id]
    assert "what to do: ask for more" in shown.stdout
    assert (watched.exit_code, "create_server: waiting: quota" in watched.stdout) == (1, True)
    assert [json.loads(line)["state"] for line in as_json.stdout.splitlines()] == ["waiting", "needs_person"]
    assert resumed.exit_code == 0


async def test_a_run_that_is_done_ends_the_watch_well(
    system_database: Database, tenant: SomeTenant, invoke: Invoke
) -> None:
    vps_id = str(await make_run(system_database, tenant, "done"))
    assert (await asyncio.to_thread(invoke, "watch", vps_id)).exit_code == 0


async def test_an_orphan_is_shown_and_reaped_only_after_a_yes(system_database: Database, invoke: Invoke) -> None:
    reaped = "SELECT count(*) FROM stray_servers WHERE reap_at IS NOT NULL"
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO stray_servers (provider, name, kind, reason)"
                " VALUES ('hetzner', 'pm-1', 'orphan', 'no server here has this name')"
            )
        )

    listed = await asyncio.to_thread(invoke, "orphans")
    refused = await asyncio.to_thread(invoke, "reap", "pm-1", answer="n\n")
    async with system_database.system() as session:
        assert await session.scalar(text(reaped)) == 0
    said = await asyncio.to_thread(invoke, "reap", "pm-1", "--yes")
    unknown = await asyncio.to_thread(invoke, "reap", "pm-2", "--yes")

    assert "no server here has this name" in listed.stdout
    assert (refused.exit_code, said.exit_code) == (1, 0)
    assert isinstance(unknown.exception, PenguinError)
    async with system_database.system() as session:
        assert await session.scalar(text(reaped)) == 1


async def test_a_renewal_of_a_certificate_is_a_command_to_the_server_and_an_act(
    system_database: Database, tenant: SomeTenant, invoke: Invoke
) -> None:
    vps_id = await make_server(system_database, tenant)
    told = await asyncio.to_thread(invoke, "renew-certificate", str(vps_id), "--reason", "its key was seen")
    assert told.exit_code == 0, told.output
    async with system_database.system() as session:
        (command,) = await session.scalars(text("SELECT command FROM server_commands"))
        assert Command.FromString(command).issue_certificate.renew
        acts = (await session.execute(text("SELECT act, reason, subject ->> 'vps_id' FROM operator_acts"))).all()
    assert [tuple(act) for act in acts] == [("vps.renew-certificate", "its key was seen", str(vps_id))]
