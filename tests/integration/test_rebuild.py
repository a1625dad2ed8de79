"""A server is rebuilt with its mail: PostgreSQL, an agent's own deeds on two directories, a cloud in memory."""

import asyncio
import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import Row, text

from control_plane.data_keys.keys import open_sealed
from control_plane.errors import Conflict
from control_plane.pipelines.worker import Worker
from control_plane.providers.base import Capability, ProviderBusy, ProviderError, ServerOrder, refuse_late
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.rebuilding import request_rebuild
from control_plane.provisioning.requests import probe_password_place, request_removal
from control_plane.provisioning.steps import verify_mail_flow
from control_plane.queuer.statements import waiting_lines
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from mailstack.apply.mail_archive import tree_of
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.telemetry_pb2 import HealthReport, PostfixQueue
from tests.fakes.provider import FakeProvider
from tests.fakes.rebuilt_server import RebuiltServer
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server
from tests.integration.rest import problem

SEALER = Sealer(bytes(32))


class Cloud(FakeProvider):
    """One that rebuilds: each generation once."""

    key = "local"
    capabilities = FakeProvider.capabilities | {Capability.REBUILD}

    def __init__(self) -> None:
        super().__init__()
        self.built: list[int] = []
        self.refuses_rebuild: str | None = None
        self.loses_rebuild = False

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        refuse_late(begin_before)
        assert "join_token" in user_data
        assert self.servers[name]
        if self.refuses_rebuild:
            raise ProviderError(self.refuses_rebuild)
        if generation in self.built:
            return
        self.built.append(generation)
        if self.loses_rebuild:
            raise ProviderBusy("the answer was lost", 0.0)


@dataclass
class Ground:
    """A server, what is played of it, and the worker."""

    database: Database
    tenant: SomeTenant
    vps_id: uuid.UUID
    cloud: Cloud
    server: RebuiltServer
    worker: Worker

    async def rows(self, query: str, **values: object) -> list[Row[Any]]:
        async with self.database.system() as session:
            return list(await session.execute(text(query), values))

    async def execute(self, statement: str, **values: object) -> None:
        async with self.database.system() as session:
            await session.execute(text(statement), values)

    async def request(self) -> uuid.UUID:
        async with self.database.tenant(self.tenant.id) as session:
            return await request_rebuild(session, tenant_id=self.tenant.id, vps_id=self.vps_id)

    async def work(self, run_id: uuid.UUID) -> Row[Any]:
        """Work on the run as far as it goes now, and return it."""
        await self.execute("UPDATE pipeline_steps SET claimed_until = NULL WHERE fencing_token IS NULL")
        async with asyncio.timeout(30), self.server.playing():
            await self.worker.work_on(run_id, "vps.rebuild")
        (run,) = await self.rows("SELECT state, error FROM pipeline_runs WHERE id = :id", id=run_id)
        return run

    async def steps_done(self) -> list[str]:
        rows = await self.rows(
            "SELECT s.name FROM pipeline_steps s JOIN pipeline_runs r ON r.id = s.run_id"
            " WHERE r.kind = 'vps.rebuild' AND s.state = 'done' ORDER BY position"
        )
        return [row.name for row in rows]

    async def reports_queue(self, active: int) -> None:
        report = MessageToJson(
            HealthReport(postfix_queue=PostfixQueue(active=active)), preserving_proto_field_name=True
        )
        await self.execute(
            "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
            " VALUES (:id, :tenant, now(), clock_timestamp(), CAST(:report AS jsonb)) ON CONFLICT (vps_id)"
            " DO UPDATE SET received_at = excluded.received_at, report = excluded.report",
            id=self.vps_id,
            tenant=self.tenant.id,
            report=report,
        )


@pytest.fixture
async def ground(
    system_database: Database, tenant: SomeTenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Ground:
    monkeypatch.setattr("control_plane.pipelines.worker.POLLED_SECONDS", 3.0)
    monkeypatch.setattr(verify_mail_flow, "verify_mail_flow", lambda _: None)
    vps_id = await make_server(system_database, tenant)
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse/manifest.json").write_text("{}")
    (tmp_path / "wheelhouse/bootstrap.py").write_text("print()\n")
    settings = Settings.model_validate({"state_dir": tmp_path})
    cloud = Cloud()
    server = RebuiltServer(
        system_database, tenant.id, vps_id, tmp_path / "disks", SEALER, rebuilds=lambda: len(cloud.built)
    )
    await cloud.create(ServerOrder(f"pm-{vps_id.hex[:12]}", "mx.penguin.example", "small", "here", "", ()))
    environment = Environment(system_database, {"local": cloud}, None, settings, SEALER)  # type: ignore[arg-type] # no DNS
    ground = Ground(system_database, tenant, vps_id, cloud, server, Worker(system_database, pipelines(environment)))
    await ground.execute(
        "UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id",
        sealed=SEALER.seal(b"p" * 24, probe_password_place(vps_id)),
        id=vps_id,
    )
    await server.connect()
    server.disk.fill(20, 50_000)
    return ground


async def test_a_rebuilt_server_has_its_mail_before_it_is_told_what_to_be(ground: Ground) -> None:
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    before = tree_of(ground.server.disk.mail)
    run_id = await ground.request()
    await make_sends(ground.database, inbox, 3)

    run = await ground.work(run_id)

    assert (run.state, run.error) == ("done", None)
    assert ground.cloud.built == [1]
    assert tree_of(ground.server.disk.mail) == before
    assert (ground.server.wrong, ground.server.restored) == ([], 1)
    # The sends that waited are to be had again, and nothing is left of the copy.
    assert await waiting_lines(ground.database) != []
    (server,) = await ground.rows("SELECT status, draining_since FROM vps_servers")
    assert (server.status, server.draining_since) == ("ready", None)
    assert await ground.rows("SELECT FROM mail_blocks") == []
    assert await ground.rows("SELECT FROM server_commands WHERE kind = 'keep_mail'") == []
    (rebuild,) = await ground.rows("SELECT key_sealed, holds_configuration FROM server_rebuilds")
    assert (rebuild.key_sealed, rebuild.holds_configuration) == (None, False)
    (certificates,) = await ground.rows("SELECT count(*) AS n FROM agent_certificates WHERE revoked_at IS NULL")
    assert certificates.n == 1


async def test_the_copy_is_sealed_with_a_key_that_is_sealed_too(ground: Ground) -> None:
    run_id = await ground.request()
    ground.cloud.refuses_rebuild = "not today"
    assert (await ground.work(run_id)).state == "needs_person"
    blocks = [bytes(row.sealed) for row in await ground.rows("SELECT sealed FROM mail_blocks ORDER BY number")]
    (rebuild,) = await ground.rows("SELECT key_sealed, packed FROM server_rebuilds")
    archive = b"".join(blocks)
    assert hashlib.sha256(archive).hexdigest() == rebuild.packed["sha256"]
    message = next(iter(ground.server.disk.contents().values()))
    assert message[:64] not in archive
    async with ground.database.system() as session:
        place = f"server_rebuilds.key_sealed:{run_id}"
        key = await open_sealed(session, SEALER, rebuild.key_sealed, place)
    assert key not in archive


async def test_a_refusal_after_the_copy_waits_for_a_person_and_goes_on_from_there(ground: Ground) -> None:
    before = tree_of(ground.server.disk.mail)
    ground.cloud.refuses_rebuild = "the image is gone"
    run_id = await ground.request()
    run = await ground.work(run_id)
    assert (run.state, run.error) == ("needs_person", "the provider refused to rebuild the server: the image is gone")

    ground.cloud.refuses_rebuild = None
    assert (await ground.work(run_id)).state == "done"
    assert tree_of(ground.server.disk.mail) == before
    assert ground.server.asked.count("pack") == 1


async def test_a_rebuild_whose_answer_was_lost_is_not_done_twice(ground: Ground) -> None:
    before = tree_of(ground.server.disk.mail)
    ground.cloud.loses_rebuild = True
    run_id = await ground.request()
    assert (await ground.work(run_id)).state == "done"
    assert ground.cloud.built == [1]
    assert tree_of(ground.server.disk.mail) == before

    ground.cloud.loses_rebuild = False
    assert (await ground.work(await ground.request())).state == "done"
    assert ground.cloud.built == [1, 2]
    assert tree_of(ground.server.disk.mail) == before


async def test_mail_that_changes_after_the_packing_calls_the_rebuild_off(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ground.server
    perform = server.perform

    def and_somebody_delivers(command: Command) -> CommandResult:
        if command.keep_mail.WhichOneof("step") == "check":
            server.disk.deliver("cur/late", b"mail")
        return perform(command)

    monkeypatch.setattr(server, "perform", and_somebody_delivers)
    run = await ground.work(await ground.request())
    assert run.state == "undone"
    assert "changed since it was packed" in run.error
    assert ground.cloud.built == []
    assert b"mail" in server.disk.contents().values()
    assert server.disk.runs
    await _is_used_again(ground)


async def test_mail_that_cannot_be_kept_calls_the_rebuild_off(ground: Ground) -> None:
    (ground.server.disk.mail / "link").symlink_to("/etc/shadow")
    run = await ground.work(await ground.request())
    assert run.state == "undone"
    assert run.error.startswith("its mail cannot be kept, and it was not rebuilt:")
    assert ground.cloud.built == []
    await _is_used_again(ground)


async def test_a_copy_that_is_not_whole_is_made_anew(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree_of(ground.server.disk.mail)
    perform = ground.server.perform
    broken: list[Command] = []

    def once_broken(command: Command) -> CommandResult:
        result = perform(command)
        if command.keep_mail.WhichOneof("step") == "read_block" and not broken:
            broken.append(command)
            result.output = "AAAA" + result.output[4:]
        return result

    monkeypatch.setattr(ground.server, "perform", once_broken)
    monkeypatch.setattr("control_plane.provisioning.steps.keep_mail._LATER_SECONDS", 0.01)
    assert (await ground.work(await ground.request())).state == "done"
    assert broken
    assert tree_of(ground.server.disk.mail) == before


async def test_a_server_with_mail_on_its_way_out_is_waited_for(ground: Ground) -> None:
    await ground.reports_queue(2)
    run_id = await ground.request()
    run = await ground.work(run_id)
    assert run.state == "running"
    assert await ground.steps_done() == ["hold"]
    await ground.reports_queue(0)
    assert (await ground.work(run_id)).state == "done"


async def test_a_server_that_does_not_get_empty_is_used_again(ground: Ground) -> None:
    await ground.reports_queue(2)
    run_id = await ground.request()
    await ground.work(run_id)
    await ground.execute("UPDATE server_rebuilds SET created_at = now() - interval '7 hours'")
    run = await ground.work(run_id)
    assert (run.state, run.error) == (
        "undone",
        "the server still has 2 messages in Postfix's queue; it was not rebuilt",
    )
    assert ground.server.asked == []
    await _is_used_again(ground)


async def test_a_server_that_was_drained_before_stays_so(ground: Ground) -> None:
    await ground.execute("UPDATE vps_servers SET draining_since = now()")
    assert (await ground.work(await ground.request())).state == "done"
    (server,) = await ground.rows("SELECT draining_since FROM vps_servers")
    assert server.draining_since is not None


async def test_what_cannot_be_rebuilt_is_refused_in_words(rest_client: httpx.AsyncClient, ground: Ground) -> None:
    await ground.execute("UPDATE vps_servers SET provider = 'byo'")
    answer = problem(await rest_client.post(f"vps/{ground.vps_id}/rebuild"), 409, "conflict")
    assert "install it anew" in answer["detail"]
    await ground.execute("UPDATE vps_servers SET provider = 'local', status = 'provisioning'")
    with pytest.raises(Conflict, match="provisioning"):
        await ground.request()


async def test_a_server_that_is_being_rebuilt_is_neither_used_nor_removed(
    rest_client: httpx.AsyncClient, ground: Ground
) -> None:
    run_id = await ground.request()
    for path in ("undrain", "rebuild"):
        problem(await rest_client.post(f"vps/{ground.vps_id}/{path}"), 409, "conflict")
    with pytest.raises(Conflict, match="rebuilt"):
        async with ground.database.tenant(ground.tenant.id) as session:
            await request_removal(session, tenant_id=ground.tenant.id, vps_id=ground.vps_id)
    assert (await ground.work(run_id)).state == "done"
    assert (await rest_client.post(f"vps/{ground.vps_id}/undrain")).status_code == 202


async def _is_used_again(ground: Ground) -> None:
    (server,) = await ground.rows("SELECT status, draining_since FROM vps_servers")
    assert (server.status, server.draining_since) == ("ready", None)
    assert await ground.rows("SELECT FROM mail_blocks") == []
    assert await ground.rows("SELECT FROM pauses WHERE resumed_at IS NULL") == []
