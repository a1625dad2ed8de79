"""Port 80 of servers at Hetzner: open while a certificate is got, and shut after whatever went wrong."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from control_plane.pipelines.step import Done, Run, Wait
from control_plane.providers.base import Provider
from control_plane.provisioning.acme_ports import look_after_ports
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.servers import name_at_provider
from control_plane.provisioning.steps.await_certificate import AwaitCertificate
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from protos.agent.v1.telemetry_pb2 import CertificateIssue, HealthReport
from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.database import SomeTenant
from tests.integration.hetzner.ground import ORDER, Ground, ground
from tests.integration.mail_rows import make_server

_REPORT = text(
    "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, report) VALUES (:vps, :tenant, now(), CAST(:report AS"
    " jsonb)) ON CONFLICT (vps_id) DO UPDATE SET report = excluded.report"
)
_APPLY = r"/firewalls/\d+/actions/apply_to_resources"
_REMOVE = r"/firewalls/\d+/actions/remove_from_resources"


@dataclass
class World:
    database: Database
    tenant: SomeTenant
    ground: Ground
    vps_id: uuid.UUID

    @property
    def providers(self) -> Mapping[str, Provider]:
        return {"hetzner": self.ground.provider}

    async def report(self, state: str) -> None:
        report = MessageToJson(
            HealthReport(certificate_issue=CertificateIssue(state=state)), preserving_proto_field_name=True
        )
        row = {"vps": self.vps_id, "tenant": self.tenant.id, "report": report}
        async with self.database.system() as session:
            await session.execute(_REPORT, row)

    async def look(self) -> None:
        await look_after_ports(self.database, self.providers)

    async def set(self, what: str, **values: object) -> None:
        async with self.database.system() as session:
            await session.execute(
                text(f"UPDATE vps_servers SET {what} WHERE id = :id"),  # noqa: S608 - ours
                {"id": self.vps_id, **values},
            )

    async def ten_minutes_later(self) -> None:
        await self.set("acme_port_open_until = acme_port_open_until - CAST(:by AS interval)", by=timedelta(minutes=10))

    @property
    def is_open(self) -> bool:
        firewalls = self.ground.fake.project.firewalls.values()
        return any(each["_servers"] for each in firewalls if each["name"].endswith("-acme"))

    async def noted(self) -> bool:
        async with self.database.system() as session:
            note = text("SELECT acme_port_open_until IS NOT NULL FROM vps_servers WHERE id = :id")
            return bool(await session.scalar(note, {"id": self.vps_id}))

    async def told(self) -> list[float]:
        """Return for how long the port was said to be open, each time."""
        async with self.database.system() as session:
            commands = await session.scalars(text("SELECT command FROM server_commands ORDER BY created_at"))
            return [Command.FromString(each).issue_certificate.port_open_seconds for each in commands]


@pytest.fixture
async def world(system_database: Database, tenant: SomeTenant) -> AsyncIterator[World]:
    with ground() as prepared:
        vps_id = await make_server(system_database, tenant)
        await prepared.provider.create(replace(ORDER, name=name_at_provider(vps_id)))
        world = World(system_database, tenant, prepared, vps_id)
        await world.set("provider = 'hetzner', link_session = gen_random_uuid()")
        yield world


async def test_the_port_is_open_from_the_wish_to_the_result(world: World) -> None:
    await world.report("issued")
    await world.look()
    assert (world.is_open, await world.told()) == (False, [])
    await world.report("waiting_for_port")
    for state in ("waiting_for_port", "asking"):
        await world.look()
        assert (world.is_open, await world.noted(), await world.told()) == (True, True, [240.0])
        await world.report(state)
    await world.report("issued")
    await world.look()
    assert (world.is_open, await world.noted()) == (False, False)
    seen = len(world.ground.fake.seen)
    await world.look()
    assert len(world.ground.fake.seen) == seen


async def test_each_failure_shuts_it_and_the_next_wish_opens_it_again(world: World) -> None:
    await world.report("waiting_for_port")
    await world.look()
    await world.report("unreachable")
    await world.look()
    assert not world.is_open
    await world.report("waiting_for_port")
    await world.look()
    assert (world.is_open, await world.told()) == (True, [240.0, 240.0])


async def test_without_a_result_it_is_shut_after_ten_minutes(world: World) -> None:
    await world.report("waiting_for_port")
    await world.look()
    await world.set("link_session = NULL")
    await world.ten_minutes_later()
    await world.look()
    assert (world.is_open, await world.noted()) == (False, False)
    await world.look()
    assert not world.is_open, "for a server that is not there"


@pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.GATEWAY_TIMEOUT, Loss.GARBLED])
async def test_an_opening_whose_answer_was_lost_is_shut_again(world: World, loss: Loss) -> None:
    world.ground.fake.script.add(Fault("POST", _APPLY, lose=loss))
    await world.report("waiting_for_port")
    await world.look()
    assert (world.is_open, await world.noted(), await world.told()) == (True, True, [])
    await world.look()
    assert (world.is_open, await world.noted()) == (False, False)
    await world.look()
    assert (world.is_open, await world.told()) == (True, [240.0])


@pytest.mark.parametrize("fault", [Fault("POST", _REMOVE, lose=Loss.CLOSED), Fault("POST", _REMOVE, refuse="locked")])
async def test_a_shutting_that_failed_is_repeated(world: World, fault: Fault) -> None:
    await world.report("waiting_for_port")
    await world.look()
    world.ground.fake.script.add(replace(fault))
    await world.report("issued")
    await world.look()
    assert await world.noted()
    await world.look()
    assert (world.is_open, await world.noted()) == (False, False)


async def test_what_a_killed_worker_left_open_is_shut(world: World) -> None:
    fault = Fault("POST", _APPLY, lose=Loss.SILENCE)
    world.ground.fake.script.add(fault)
    await world.report("waiting_for_port")
    worker = asyncio.create_task(world.look())
    await asyncio.to_thread(fault.reached.wait, 10)
    worker.cancel()
    await asyncio.wait([worker])
    assert (worker.cancelled(), world.is_open, await world.told()) == (True, True, [])
    await world.look()
    assert world.is_open, "it may yet be used, and is noted"
    await world.ten_minutes_later()
    await world.look()
    assert (world.is_open, await world.noted()) == (False, False)


async def test_a_worker_that_opened_too_late_has_it_shut(world: World) -> None:
    await world.report("waiting_for_port")
    await look_after_ports(world.database, {"hetzner": _PausedWhileOpening(world)})  # type: ignore[dict-item]
    assert (world.is_open, await world.told()) == (True, [])
    await world.look()
    assert (world.is_open, await world.noted()) == (False, False)


async def test_a_server_that_is_gone_has_no_port(world: World) -> None:
    await world.report("waiting_for_port")
    await world.look()
    name = name_at_provider(world.vps_id)
    await world.ground.until_done(lambda: world.ground.provider.delete(name))
    await world.set("status = 'deleted'")
    await world.ten_minutes_later()
    await world.look()
    assert not await world.noted()


async def test_two_workers_open_it_once(world: World) -> None:
    await world.report("waiting_for_port")
    await asyncio.gather(world.look(), world.look())
    assert await world.told() == [240.0]


async def test_a_server_that_gets_ready_waits_for_no_clock(world: World) -> None:
    settings = Settings.model_validate({"state_dir": "/nowhere", "acme_directory": "https://a.example"})
    environment = Environment(world.database, world.providers, None, settings, None)  # type: ignore[arg-type]
    context = StepContext(environment, Run(uuid.uuid4(), world.tenant.id, "vps.provision", world.vps_id, {}))
    await world.report("waiting_for_port")
    await world.set("applied_at = now()")
    assert isinstance(await AwaitCertificate().run(context), Wait)
    assert (world.is_open, await world.told()) == (True, [240.0])
    await world.report("issued")
    assert isinstance(await AwaitCertificate().run(context), Done)
    assert (world.is_open, await world.noted()) == (False, False)


async def test_a_provider_without_such_a_firewall_is_left_alone(world: World) -> None:
    await world.set("provider = 'local'")
    await world.report("waiting_for_port")
    await world.look()
    assert (world.is_open, await world.noted(), await world.told()) == (False, False, [])


class _PausedWhileOpening:
    """Hetzner for a worker that slept between its note and the call, for so long that others took the note away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.capabilities = world.ground.provider.capabilities

    async def open_acme(self, name: str) -> None:
        await self._world.ten_minutes_later()
        await self._world.report("issued")
        await self._world.look()
        assert not await self._world.noted()
        await self._world.ground.provider.open_acme(name)
