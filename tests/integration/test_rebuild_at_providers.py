"""The whole run of a rebuild at Hetzner and at Hostwinds: adapters, the fakes of their APIs, an agent's own deeds."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Row, text

from control_plane.pipelines.worker import Worker
from control_plane.providers.base import Provider, ProviderBusy, ProviderServer, ServerOrder
from control_plane.providers.byo.provider import ByoProvider
from control_plane.providers.hetzner.client import Account as HetznerAccount
from control_plane.providers.hetzner.pace import Unpaced
from control_plane.providers.hetzner.provider import HetznerProvider
from control_plane.providers.hostwinds import provider as hostwinds
from control_plane.providers.hostwinds.catalogue import Allowance
from control_plane.providers.hostwinds.client import Access
from control_plane.providers.hostwinds.provider import Account, HostwindsProvider
from control_plane.providers.hostwinds.ssh import Login
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.rebuilding import request_rebuild
from control_plane.provisioning.requests import probe_password_place
from control_plane.provisioning.servers import name_at_provider
from control_plane.provisioning.steps import verify_mail_flow
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.fakes.hetzner.door import FakeHetzner, running_hetzner
from tests.fakes.hetzner.faults import Fault, Loss
from tests.fakes.hostwinds.door import FakeHostwinds, running_hostwinds
from tests.fakes.rebuilt_server import RebuiltServer
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server

SEALER = Sealer(bytes(32))
_TAKES_SECONDS = 60.0
_PLACE = text(
    "UPDATE vps_servers SET provider = :provider, provider_server_id = :number, ip_address = CAST(:ip AS inet),"
    " probe_password_sealed = :probe WHERE id = :id"
)
_SERVER = text(
    "SELECT provider_server_id, host(ip_address) AS ip, status, status_reason, draining_since FROM vps_servers"
    " WHERE id = :id"
)


@dataclass
class Cloud:
    """A provider's adapter and its fake; what takes its time is done when the clock says so."""

    provider: Provider
    fake: FakeHetzner | FakeHostwinds | None
    seconds: float = 1_800_000_000.0
    #: The programs that were run on servers: under which name their host keys are kept, and where.
    joined: list[tuple[str, str]] = field(default_factory=list)

    def rebuilds(self) -> int:
        """Return how often a disk was overwritten."""
        match self.fake:
            case FakeHetzner():
                over = [each for each in self.fake.project.actions.values() if each.over]
                return sum(each.command == "rebuild_server" and each.error is None for each in over)
            case FakeHostwinds():
                (instance,) = self.fake.account.instances
                return self.fake.account.reinstalled if self.seconds >= instance["busy_until"] else 0
        return 0

    def overwritten(self) -> int:
        """Return how often that was asked for."""
        match self.fake:
            case FakeHetzner():
                return sum(seen.path.endswith("/actions/rebuild") for seen in self.fake.seen)
            case FakeHostwinds():
                return self.fake.seen.count("reinstall_instance")
        return 0


@dataclass
class Ground:
    """A server at a provider, in use, with mail."""

    cloud: Cloud
    database: Database
    tenant: SomeTenant
    vps_id: uuid.UUID
    server: RebuiltServer
    worker: Worker

    async def request(self) -> uuid.UUID:
        async with self.database.tenant(self.tenant.id) as session:
            return await request_rebuild(session, tenant_id=self.tenant.id, vps_id=self.vps_id)

    async def work(self, run_id: uuid.UUID) -> tuple[Row[Any], list[str]]:
        """Work on the run until it is over, while time passes; return it, and all that it waited for."""
        waited = []
        async with self.server.playing():
            for _ in range(12):
                await self._execute("UPDATE pipeline_steps SET claimed_until = NULL WHERE fencing_token IS NULL")
                await self.worker.work_on(run_id, "vps.rebuild")
                (run,) = await self.rows("SELECT state, error FROM pipeline_runs")
                if run.state in {"done", "undone", "failed"}:
                    break
                steps = await self.rows("SELECT error FROM pipeline_steps WHERE state = 'waiting' AND error <> ''")
                waited += [step.error for step in steps]
                self.cloud.seconds += _TAKES_SECONDS / 2
        return run, waited

    async def standing(self) -> Row[Any]:
        async with self.database.system() as session:
            return (await session.execute(_SERVER, {"id": self.vps_id})).one()

    async def rows(self, query: str) -> list[Row[Any]]:
        async with self.database.system() as session:
            return list(await session.execute(text(query)))

    async def _execute(self, statement: str) -> None:
        async with self.database.system() as session:
            await session.execute(text(statement))


@contextmanager
def _hetzner(_database: Database) -> Iterator[Cloud]:
    with running_hetzner(action_seconds=_TAKES_SECONDS, clock=lambda: cloud.seconds) as fake:
        account = HetznerAccount(SecretStr(fake.token), fake.url, "penguin.example", "debian-12")
        cloud = Cloud(HetznerProvider(account, Unpaced(), timeout=(2.0, 2.0)), fake)
        yield cloud


@contextmanager
def _hostwinds(database: Database) -> Iterator[Cloud]:
    with running_hostwinds(clock=lambda: cloud.seconds) as fake:
        fake.account.made_after = _TAKES_SECONDS
        allowance = Allowance(opted_in=True, per_server=Decimal(20), in_all=Decimal(25))
        login = Login(Path("no-key"), Path("no-known-hosts"))
        access = Access(fake.url, SecretStr(fake.key), 2.0)
        account = Account(access, allowance, "tpl-1", ("1",), "penguin", login)
        cloud = Cloud(HostwindsProvider(account, database), fake)
        yield cloud


@contextmanager
def _byo(database: Database) -> Iterator[Cloud]:
    yield Cloud(ByoProvider(database, ()), None)


_CLOUDS: dict[str, Callable[[Database], Any]] = {"hetzner": _hetzner, "hostwinds": _hostwinds, "byo": _byo}


@pytest.fixture
async def ground(
    request: pytest.FixtureRequest,
    system_database: Database,
    tenant: SomeTenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Ground]:
    monkeypatch.setattr("control_plane.pipelines.worker.POLLED_SECONDS", 1.0)
    monkeypatch.setattr(verify_mail_flow, "verify_mail_flow", lambda _: None)
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse/manifest.json").write_text("{}")
    (tmp_path / "wheelhouse/bootstrap.py").write_text("print()\n")
    settings = Settings.model_validate({"state_dir": tmp_path})
    with _CLOUDS[request.param](system_database) as cloud:

        async def joining(_login: Login, known: str, address: str, _program: str) -> None:
            cloud.joined.append((known, address))

        monkeypatch.setattr(hostwinds, "start_joining", joining)
        vps_id = await make_server(system_database, tenant)
        made = await _made(cloud, vps_id)
        async with system_database.system() as session:
            probe = SEALER.seal(b"p" * 24, probe_password_place(vps_id))
            row = {"id": vps_id, "provider": cloud.provider.key, "probe": probe, "number": made[0], "ip": made[1]}
            await session.execute(_PLACE, row)
        server = RebuiltServer(
            system_database,
            tenant.id,
            vps_id,
            tmp_path / "disks",
            SEALER,
            cloud.rebuilds,
            joins_by_program=isinstance(cloud.fake, FakeHostwinds),
        )
        await server.connect()
        server.disk.fill(12, 50_000)
        environment = Environment(system_database, {cloud.provider.key: cloud.provider}, None, settings, SEALER)  # type: ignore[arg-type] # no DNS
        worker = Worker(system_database, pipelines(environment))
        yield Ground(cloud, system_database, tenant, vps_id, server, worker)


async def _made(cloud: Cloud, vps_id: uuid.UUID) -> tuple[str, str]:
    """Return the server's number and address at the provider, once it is made."""
    if cloud.fake is None:
        return "own", "192.0.2.1"
    region = cloud.provider.regions[0]
    order = ServerOrder(name_at_provider(vps_id), "mx-1.penguin.example", "starter", region, "", ())
    found: ProviderServer | None = None
    while found is None or found.progress is not None:
        try:
            found = await cloud.provider.create(order)
        except ProviderBusy:
            found = None
        cloud.seconds += _TAKES_SECONDS / 2
    return found.provider_id, found.ipv4_address


@pytest.mark.parametrize("ground", ["hetzner", "hostwinds"], indirect=True)
async def test_a_server_is_rebuilt_at_its_provider_once_with_its_mail_and_address(ground: Ground) -> None:
    before, mail = await ground.standing(), ground.server.disk.contents()

    run, waited = await ground.work(await ground.request())

    assert (run.state, run.error) == ("done", None)
    assert await ground.standing() == before
    assert any("is rebuilding" in reason for reason in waited), waited
    assert ground.cloud.overwritten() == ground.cloud.rebuilds() == 1
    assert (ground.server.disk.contents(), ground.server.restored, ground.server.wrong) == (mail, 1, [])
    assert ground.server.joined == {0, 1}
    assert await ground.rows("SELECT FROM mail_blocks") == []
    fake = ground.cloud.fake
    assert fake is not None
    if isinstance(fake, FakeHetzner):
        (server,) = fake.project.servers.values()
        assert "join_token" in server["_user_data"]
        assert fake.project.costs.servers_created == 1
    else:
        assert fake.account.costs.servers_created == 1
        # The new system shows another host key than the old one.
        assert ground.cloud.joined == [(f"{name_at_provider(ground.vps_id)}-rebuilt-1", before.ip)]


@pytest.mark.parametrize("ground", ["hetzner", "hostwinds"], indirect=True)
async def test_a_lost_answer_costs_no_mail_and_no_second_server(ground: Ground) -> None:
    mail = ground.server.disk.contents()
    fake = ground.cloud.fake
    assert fake is not None
    for method, path in (("POST", r"/servers/\d+/actions/rebuild"), ("reinstall_instance", "")):
        fake.script.add(Fault(method, path, lose=Loss.CLOSED))

    run, _ = await ground.work(await ground.request())

    assert (run.state, run.error) == ("done", None)
    assert (ground.server.disk.contents(), ground.server.restored, ground.server.wrong) == (mail, 1, [])
    # Hostwinds cannot be asked whether it took the first request; nothing was on the disk yet when it got the second.
    assert ground.cloud.overwritten() == (1 if isinstance(fake, FakeHetzner) else 2)
    assert len(ground.server.joined) == 2


@pytest.mark.parametrize("ground", ["hetzner"], indirect=True)
async def test_a_rebuild_that_fails_there_waits_for_a_person_with_the_mail_kept(ground: Ground) -> None:
    assert isinstance(ground.cloud.fake, FakeHetzner)
    mail = ground.server.disk.contents()
    failing = ("image_gone", "no such image any more")
    ground.cloud.fake.script.add(Fault("POST", r"/servers/\d+/actions/rebuild", fail_action=failing))

    run, waited = await ground.work(await ground.request())

    assert any("no such image any more" in reason for reason in waited), waited
    assert (run.state, run.error) == ("done", None)
    assert (ground.server.disk.contents(), ground.cloud.overwritten()) == (mail, 2)


@pytest.mark.parametrize("ground", ["byo"], indirect=True)
async def test_where_it_cannot_be_done_that_is_said_before_anything_is_touched(ground: Ground) -> None:
    before = await ground.standing()

    run, _ = await ground.work(await ground.request())

    assert run.state == "undone"
    assert "have it removed, install it anew and join it again" in run.error
    assert await ground.standing() == before
    assert (ground.server.asked, ground.server.disk.runs) == ([], True)
    assert await ground.rows("SELECT FROM server_rebuilds") == []
    assert await ground.rows("SELECT FROM agent_certificates WHERE revoked_at IS NOT NULL") == []
