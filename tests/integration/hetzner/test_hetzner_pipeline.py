"""The pipeline's own steps against Hetzner: real PostgreSQL, the fake over HTTP, the shared rate limit."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Row, text

from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.pipelines.worker import Worker
from control_plane.providers.registry import build_providers
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.requests import request_removal, request_server
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.fakes.hetzner.catalogue import KINDS
from tests.fakes.hetzner.door import FakeHetzner, running_hetzner
from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.hetzner.ground import FakeClock

SEALER = Sealer(bytes(32))
PLATFORM = "penguin.example"


@dataclass
class World:
    fake: FakeHetzner
    clock: FakeClock
    database: Database
    tenant: SomeTenant
    worker: Worker

    async def request(self, size: str = "starter") -> uuid.UUID:
        async with self.database.tenant(self.tenant.id) as session:
            return await request_server(
                session,
                tenant_id=self.tenant.id,
                workspace_id=self.tenant.workspace_id,
                provider="hetzner",
                size=size,
                region="eu",
                platform_domain=PLATFORM,
                sealer=SEALER,
            )

    async def work(self, step: str = "create_server") -> Row[Any]:
        """Work on the newest run as far as it goes now, and return one of its steps."""
        async with self.database.system() as session:
            await session.execute(text("UPDATE pipeline_steps SET claimed_until = NULL WHERE fencing_token IS NULL"))
            run = (await session.execute(text("SELECT id, kind FROM pipeline_runs ORDER BY created_at DESC"))).first()
        assert run is not None
        await self.worker.work_on(run.id, run.kind)
        async with self.database.system() as session:
            steps = text("SELECT state, error FROM pipeline_steps WHERE run_id = :run AND name = :name")
            return (await session.execute(steps, {"run": run.id, "name": step})).one()

    async def server(self, vps_id: uuid.UUID) -> Row[Any]:
        async with self.database.system() as session:
            row = text("SELECT *, host(ip_address) AS ipv4 FROM vps_servers WHERE id = :id")
            return (await session.execute(row, {"id": vps_id})).one()


@pytest.fixture
async def world(
    database: FreshDatabase,
    system_database: Database,
    tenant: SomeTenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    monkeypatch.setattr("control_plane.pipelines.worker.POLLED_SECONDS", 0.0)
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse" / "manifest.json").write_text("{}")
    (tmp_path / "wheelhouse" / "bootstrap.py").write_text("print()\n")
    clock = FakeClock()
    with running_hetzner(action_seconds=10.0, clock=clock) as fake:
        settings = Settings(
            state_dir=tmp_path,
            system_database_url=SecretStr(database.url("penguin_system")),
            platform_domain=PLATFORM,
            hetzner_token=SecretStr(fake.token),
            hetzner_api_url=fake.url,
        )
        nowhere = PowerDnsPublisher("http://127.0.0.1:1", "", f"ns1.{PLATFORM}")
        providers = build_providers(settings, system_database)
        environment = Environment(system_database, providers, nowhere, settings, SEALER)
        yield World(fake, clock, system_database, tenant, Worker(system_database, pipelines(environment)))


async def test_the_step_gives_its_worker_back_while_hetzner_makes_the_server(world: World) -> None:
    vps_id = await world.request()
    assert (await world.work()).state == "waiting"
    world.clock.seconds += 5.0
    waiting = await world.work()
    assert waiting.error == "the provider is making the server (50 %)"
    assert (await world.server(vps_id)).ipv4 is None
    world.clock.seconds += 5.0
    assert (await world.work()).state == "done"
    server = await world.server(vps_id)
    (made,) = world.fake.project.servers.values()
    assert server.provider_server_id == str(made["id"])
    assert server.ipv4 in {each["ip"] for each in world.fake.project.primary_ips.values()}
    assert server.specs == {"cores": 2, "memory_bytes": 4 << 30, "disk_bytes": 40 << 30}
    assert float(server.monthly_cost) == 5.49
    assert made["labels"] == {
        "penguin/instance": PLATFORM,
        "penguin/tenant-id": str(world.tenant.id),
        "penguin/vps-id": str(vps_id),
        "penguin/generation": "0",
    }
    assert made["_user_data"].startswith("#cloud-config")
    assert world.fake.project.costs.posts == 1


async def test_a_lost_answer_costs_no_second_server(world: World) -> None:
    world.fake.script.add(Fault("POST", "/servers", lose=Loss.CLOSED))
    await world.request()
    for _ in range(3):
        await world.work()
        world.clock.seconds += 5.0
    assert (await world.work()).state == "done"
    costs = world.fake.project.costs
    assert (costs.servers_asked, costs.servers_created, costs.double_charges) == (1, 1, 0)


async def test_what_a_person_has_to_mend_is_waited_for_with_the_reason(world: World) -> None:
    world.fake.project.most_servers = 0
    await world.request()
    waiting = await world.work()
    assert waiting.state == "waiting"
    assert "ask for a higher one in the console" in waiting.error
    world.fake.project.most_servers = 1
    await world.work()
    world.clock.seconds += 10.0
    assert (await world.work()).state == "done"


async def test_a_sold_out_region_is_waited_for(world: World) -> None:
    world.fake.project.sold_out |= {(kind.name, place) for kind in KINDS for place in kind.locations}
    await world.request("enterprise")
    waiting = await world.work()
    assert waiting.state == "waiting"
    assert "nothing is to be had in eu" in waiting.error
    world.fake.project.sold_out.discard(("cx43", "hel1"))
    await world.work()
    (made,) = world.fake.project.servers.values()
    assert (made["server_type"]["name"], made["location"]["name"]) == ("cx43", "hel1")


async def test_a_removed_server_leaves_nothing_that_costs(world: World) -> None:
    vps_id = await world.request()
    await world.work()
    world.clock.seconds += 10.0
    assert (await world.work()).state == "done"
    await _remove(world, vps_id)
    assert (world.fake.project.servers, world.fake.project.primary_ips) == ({}, {})
    assert world.fake.project.orphans(known=set()) == []


async def test_addresses_of_a_server_that_never_came_go_with_its_removal(world: World) -> None:
    world.fake.project.most_servers = 0
    vps_id = await world.request()
    await world.work()
    assert len(world.fake.project.primary_ips) == 2
    await _remove(world, vps_id)
    assert world.fake.project.primary_ips == {}


async def _remove(world: World, vps_id: uuid.UUID) -> None:
    async with world.database.tenant(world.tenant.id) as session:
        await request_removal(session, tenant_id=world.tenant.id, vps_id=vps_id)
    for _ in range(4):
        if (step := await world.work("delete_server")).state == "done":
            return
        assert step.state == "waiting", step.error
        world.clock.seconds += 10.0
    raise AssertionError("the server was not removed")
