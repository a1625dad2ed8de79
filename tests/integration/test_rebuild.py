"""A server is rebuilt with its mail: PostgreSQL, an agent's own deeds on two directories, a cloud in memory."""

import asyncio
import hashlib
import os
import secrets
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import Row, text

from agent.configuration.keep_mail import MailKeeper
from agent.configuration.told import Refused, Told
from control_plane.data_keys.keys import open_sealed
from control_plane.enrolment.authority import IssuedCertificate
from control_plane.enrolment.certificates import record_certificate
from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Conflict
from control_plane.fleet.commands import record_command_result, take_commands
from control_plane.fleet.desired import load_desired_state
from control_plane.pipelines.worker import Worker
from control_plane.providers.base import Capability, ProviderBusy, ProviderError, ServerOrder
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.rebuilding import request_rebuild
from control_plane.provisioning.requests import probe_password_place, request_removal
from control_plane.provisioning.steps import verify_mail_flow
from control_plane.queuer.statements import waiting_lines
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from mailstack.apply.host import CommandFailed
from mailstack.apply.mail_archive import tree_of
from mailstack.checking import CommandOutput
from mailstack.rendered_file import Service
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.telemetry_pb2 import HealthReport, PostfixQueue
from tests.fakes.host import FakeHost
from tests.fakes.provider import FakeProvider
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_sends, make_server
from tests.integration.rest import problem

SEALER = Sealer(bytes(32))


class MailHost(FakeHost):
    """A mail server that runs, with so many messages in its queue."""

    def __init__(self) -> None:
        super().__init__()
        self.active = {Service.POSTFIX, Service.DOVECOT}
        self.queued = 0

    def run(self, argv: Sequence[str]) -> CommandOutput:
        if argv[0] == "postqueue":
            return CommandOutput(0, "{}\n" * self.queued, "")
        return super().run(argv)


@dataclass
class Cloud(FakeProvider):
    """One that rebuilds: each generation once."""

    database: Database
    tenant: SomeTenant
    vps_id: uuid.UUID
    disks: Path
    key = "local"
    capabilities = FakeProvider.capabilities | {Capability.REBUILD}
    #: The generation of the disk, and the server on it.
    built: list[int] = field(default_factory=list)
    host: MailHost = field(default_factory=MailHost)
    refuses_rebuild: str | None = None
    loses_rebuild: bool = False

    def __post_init__(self) -> None:
        FakeProvider.__init__(self)

    @property
    def keeper(self) -> MailKeeper:
        disk = self.disks / str(len(self.built))
        return MailKeeper(disk / "mail", disk / "sealed", os.getuid())

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        assert "join_token" in user_data
        assert self.servers[name]
        if self.refuses_rebuild:
            raise ProviderError(self.refuses_rebuild)
        if generation in self.built:
            return
        self.built.append(generation)
        self.host = MailHost()
        self.host.active = set()
        await self.connect()
        if self.loses_rebuild:
            raise ProviderBusy("the answer was lost", 0.0)

    async def connect(self) -> None:
        """Its agent enrols and holds a link."""
        issued = IssuedCertificate(b"", uuid.uuid4().hex, datetime.now(UTC) + timedelta(hours=1))
        async with self.database.system() as session:
            await record_certificate(session, AgentIdentity(self.tenant.id, self.vps_id), issued)
            await session.execute(
                text("UPDATE vps_servers SET link_session = :link WHERE id = :id"),
                {"link": uuid.uuid4(), "id": self.vps_id},
            )


@dataclass
class Ground:
    """A server with an inbox, its agent, and the worker."""

    database: Database
    tenant: SomeTenant
    vps_id: uuid.UUID
    cloud: Cloud
    worker: Worker
    #: What the agent was asked, by step.
    asked: list[str] = field(default_factory=list)
    #: Configuration that was told while the mail was away.
    too_early: list[str] = field(default_factory=list)

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
        async with asyncio.timeout(30), self._agent():
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

    @asynccontextmanager
    async def _agent(self) -> AsyncIterator[None]:
        playing = asyncio.create_task(self._play())
        try:
            yield
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    async def _play(self) -> None:
        while True:
            async with self.database.system() as session:
                link = await session.scalar(
                    text("SELECT link_session FROM vps_servers WHERE id = :id"), {"id": self.vps_id}
                )
                commands = await take_commands(session, self.vps_id, link)
            for command in commands:
                result = await asyncio.to_thread(self._perform, command)
                async with self.database.system() as session:
                    await record_command_result(session, self.vps_id, result)
            await self._configure()
            await asyncio.sleep(0.01)

    def _perform(self, command: Command) -> CommandResult:
        if command.WhichOneof("deed") != "keep_mail":
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_DONE)
        self.asked.append(command.keep_mail.WhichOneof("step") or "")
        try:
            told = self.cloud.keeper(command, self.cloud.host)
        except Refused as error:
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_REFUSED, detail=str(error))
        except CommandFailed as error:
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_FAILED, detail=str(error))
        output = told.output if isinstance(told, Told) else ""
        return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_DONE, output=output)

    async def _configure(self) -> None:
        async with self.database.system() as session:
            try:
                await load_desired_state(session, self.vps_id, SEALER, ["192.0.2.53"])
            except Conflict:
                return
        if self.cloud.built and not self.cloud.keeper.root.exists():
            self.too_early.append("a server without its mail was told what it should be")
        await self.execute(
            "UPDATE vps_servers SET applied_version = desired_version, mail_server_status = 'running' WHERE id = :id",
            id=self.vps_id,
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
    cloud = Cloud(system_database, tenant, vps_id, tmp_path / "disks")
    await cloud.create(ServerOrder(f"pm-{vps_id.hex[:12]}", "mx.penguin.example", "small", "here", "", ()))
    environment = Environment(system_database, {"local": cloud}, None, settings, SEALER)  # type: ignore[arg-type] # no DNS
    ground = Ground(system_database, tenant, vps_id, cloud, Worker(system_database, pipelines(environment)))
    await ground.execute(
        "UPDATE vps_servers SET probe_password_sealed = :sealed WHERE id = :id",
        sealed=SEALER.seal(b"p" * 24, probe_password_place(vps_id)),
        id=vps_id,
    )
    await cloud.connect()
    cur = cloud.keeper.root / "acme.example/sales/Maildir/cur"
    cur.mkdir(parents=True)
    for number in range(20):
        (cur / f"17000000{number:02}.M1P1.mx:2,{'FS' if number % 2 else ''}").write_bytes(secrets.token_bytes(50_000))
    return ground


async def test_a_rebuilt_server_has_its_mail_before_it_is_told_what_to_be(ground: Ground) -> None:
    inbox = await make_inbox(ground.database, ground.tenant, ground.vps_id)
    old = ground.cloud.keeper.root
    before = tree_of(old)
    run_id = await ground.request()
    await make_sends(ground.database, inbox, 3)

    run = await ground.work(run_id)

    assert (run.state, run.error) == ("done", None)
    assert ground.cloud.built == [1]
    assert tree_of(ground.cloud.keeper.root) == before
    assert ground.too_early == []
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
    message = next((ground.cloud.keeper.root / "acme.example/sales/Maildir/cur").iterdir()).read_bytes()
    assert message[:64] not in archive
    async with ground.database.system() as session:
        place = f"server_rebuilds.key_sealed:{run_id}"
        key = await open_sealed(session, SEALER, rebuild.key_sealed, place)
    assert key not in archive


async def test_a_refusal_after_the_copy_waits_for_a_person_and_goes_on_from_there(ground: Ground) -> None:
    before = tree_of(ground.cloud.keeper.root)
    ground.cloud.refuses_rebuild = "the image is gone"
    run_id = await ground.request()
    run = await ground.work(run_id)
    assert (run.state, run.error) == ("needs_person", "the provider refused to rebuild the server: the image is gone")

    ground.cloud.refuses_rebuild = None
    assert (await ground.work(run_id)).state == "done"
    assert tree_of(ground.cloud.keeper.root) == before
    assert ground.asked.count("pack") == 1


async def test_a_rebuild_whose_answer_was_lost_is_not_done_twice(ground: Ground) -> None:
    before = tree_of(ground.cloud.keeper.root)
    ground.cloud.loses_rebuild = True
    run_id = await ground.request()
    assert (await ground.work(run_id)).state == "done"
    assert ground.cloud.built == [1]
    assert tree_of(ground.cloud.keeper.root) == before

    ground.cloud.loses_rebuild = False
    assert (await ground.work(await ground.request())).state == "done"
    assert ground.cloud.built == [1, 2]
    assert tree_of(ground.cloud.keeper.root) == before


async def test_mail_that_changes_after_the_packing_calls_the_rebuild_off(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = ground.cloud.keeper.root / "acme.example/sales/Maildir/cur/late"
    perform = ground._perform

    def and_somebody_delivers(command: Command) -> CommandResult:
        if command.keep_mail.WhichOneof("step") == "check":
            late.write_text("mail")
        return perform(command)

    monkeypatch.setattr(ground, "_perform", and_somebody_delivers)
    run = await ground.work(await ground.request())
    assert run.state == "undone"
    assert "changed since it was packed" in run.error
    assert ground.cloud.built == []
    assert late.exists()
    assert {Service.POSTFIX, Service.DOVECOT} <= ground.cloud.host.active
    await _is_used_again(ground)


async def test_mail_that_cannot_be_kept_calls_the_rebuild_off(ground: Ground) -> None:
    (ground.cloud.keeper.root / "link").symlink_to("/etc/shadow")
    run = await ground.work(await ground.request())
    assert run.state == "undone"
    assert run.error.startswith("its mail cannot be kept, and it was not rebuilt:")
    assert ground.cloud.built == []
    await _is_used_again(ground)


async def test_a_copy_that_is_not_whole_is_made_anew(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree_of(ground.cloud.keeper.root)
    perform = ground._perform
    broken: list[Command] = []

    def once_broken(command: Command) -> CommandResult:
        result = perform(command)
        if command.keep_mail.WhichOneof("step") == "read_block" and not broken:
            broken.append(command)
            result.output = "AAAA" + result.output[4:]
        return result

    monkeypatch.setattr(ground, "_perform", once_broken)
    monkeypatch.setattr("control_plane.provisioning.steps.keep_mail._LATER_SECONDS", 0.01)
    assert (await ground.work(await ground.request())).state == "done"
    assert broken
    assert tree_of(ground.cloud.keeper.root) == before


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
    assert ground.asked == []
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
