"""Strays: what a provider has that nothing needs, what it lacks, and reaping; the worker's half and the operators'."""

import uuid
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from control_plane.errors import Conflict, NotFound
from control_plane.operators.acts import Actor, Door, list_acts
from control_plane.operators.servers import reap, resume, server_standing
from control_plane.pipelines.runs import start_run
from control_plane.providers.base import ServerOrder
from control_plane.provisioning.servers import VPS_LABEL, name_at_provider
from control_plane.provisioning.strays import look_after_strays, looks, strays, want_look
from db.session import Database
from tests.integration.database import SomeTenant
from tests.provisioning_faults.clouds import Charging

ACTOR = Actor(Door.CLI, "tests")


@dataclass
class World:
    database: Database
    tenant: SomeTenant
    cloud: Charging

    async def row(self, status: str, *, at_provider: bool = True) -> uuid.UUID:
        vps_id = uuid.uuid4()
        async with self.database.system() as session:
            await session.execute(
                text(
                    "INSERT INTO vps_servers (id, tenant_id, workspace_id, provider, hostname, size, region, status,"
                    " provider_server_id, ip_address, probe_password_sealed)"
                    " VALUES (:id, :tenant, :workspace, 'charging', :host, 'starter', 'here', :status, 'x',"
                    "  '192.0.2.9', '')"
                ),
                {
                    "id": vps_id,
                    "tenant": self.tenant.id,
                    "workspace": self.tenant.workspace_id,
                    "host": f"mx-{vps_id.hex[:8]}.penguin.example",
                    "status": status,
                },
            )
        if at_provider:
            await self.make(name_at_provider(vps_id))
        return vps_id

    async def make(self, name: str, *labels: tuple[str, str]) -> None:
        await self.cloud.create(ServerOrder(name, "mx.penguin.example", "starter", "here", "", labels))

    async def look(self) -> dict[str, tuple[str, str]]:
        async with self.database.system() as session:
            await want_look(session)
        await look_after_strays(self.database, {"charging": self.cloud})
        async with self.database.system() as session:
            return {each.name: (each.kind, each.reason) for each in await strays(session)}


@pytest.fixture
def world(system_database: Database, tenant: SomeTenant) -> World:
    return World(system_database, tenant, Charging())


async def test_a_server_that_was_renamed_at_its_provider_is_known_by_its_label(world: World) -> None:
    kept = await world.row("ready", at_provider=False)
    removed = await world.row("deleted", at_provider=False)
    await world.make("web-1", (VPS_LABEL, str(kept)))
    await world.make("web-2", (VPS_LABEL, str(removed)))

    found = await world.look()

    assert {name: kind for name, (kind, _) in found.items()} == {"web-2": "orphan"}


async def test_what_nothing_needs_and_what_is_missing_is_found(world: World) -> None:
    await world.row("ready")
    await world.row("provisioning")
    gone = await world.row("ready", at_provider=False)
    removed, failed, undoing = await world.row("deleted"), await world.row("failed"), await world.row("failed")
    async with world.database.system() as session:
        await start_run(session, world.tenant.id, "vps.provision", undoing)
    await world.make("pm-000000000000")

    found = await world.look()

    assert {name: kind for name, (kind, _) in found.items()} == {
        "pm-000000000000": "orphan",
        name_at_provider(removed): "orphan",
        name_at_provider(failed): "orphan",
        name_at_provider(gone): "missing",
    }
    assert found["pm-000000000000"][1] == "no server here has this name"
    assert "is gone at the provider" in found[name_at_provider(gone)][1]


async def test_only_what_an_operator_said_is_reaped_and_that_is_recorded(world: World) -> None:
    for name in ("pm-000000000000", "pm-111111111111"):
        await world.make(name)
    await world.look()
    async with world.database.system() as session:
        await reap(session, ACTOR, "charging", "pm-000000000000", "nobody knows it")
        with pytest.raises(NotFound):
            await reap(session, ACTOR, "charging", "pm-222222222222")

    assert set(await world.look()) == {"pm-111111111111"}

    assert world.cloud.servers() == ["pm-111111111111"]
    async with world.database.system() as session:
        (act,) = await list_acts(session, None, 10)
    assert (act.act, act.subject) == ("vps.reap", {"provider": "charging", "name": "pm-000000000000"})


async def test_an_orphan_that_is_needed_again_is_not_reaped(world: World) -> None:
    vps_id = await world.row("failed")
    await world.look()
    async with world.database.system() as session:
        await reap(session, ACTOR, "charging", name_at_provider(vps_id))
        await session.execute(text("UPDATE vps_servers SET status = 'ready' WHERE id = :id"), {"id": vps_id})

    assert await world.look() == {}

    assert world.cloud.servers() == [name_at_provider(vps_id)]


async def test_a_provider_that_does_not_answer_keeps_what_was_found_and_says_so(world: World) -> None:
    await world.make("pm-000000000000")
    before = await world.look()
    world.cloud.away = True

    assert await world.look() == before

    async with world.database.system() as session:
        (look,) = await looks(session)
    assert (look.provider, look.fault) == ("charging", "away")


async def test_an_operator_resumes_the_run_that_waits_for_a_person(world: World) -> None:
    vps_id = await world.row("provisioning")
    async with world.database.system() as session:
        run_id = await start_run(session, world.tenant.id, "vps.provision", vps_id)
        with pytest.raises(Conflict, match="no run"):
            await resume(session, ACTOR, vps_id)
        await session.execute(
            text(
                "INSERT INTO pipeline_steps (run_id, tenant_id, position, name, claimed_until)"
                " VALUES (:run, :tenant, 0, 'create_server', now() + interval '1 hour')"
            ),
            {"run": run_id, "tenant": world.tenant.id},
        )
        await session.execute(text("UPDATE pipeline_runs SET state = 'needs_person', error = 'quota', remedy = 'ask'"))
        standing = await server_standing(session, vps_id)
        (run,) = standing.runs
        assert (run.state, run.reason, run.remedy, run.is_open) == ("needs_person", "quota", "ask", True)
        assert run.steps[0].looked_at_again is not None

        await resume(session, ACTOR, vps_id, "the quota was raised")

        (run,) = (await server_standing(session, vps_id)).runs
        assert run.steps[0].looked_at_again is None
        assert [act.act for act in await list_acts(session, None, 10)] == ["vps.resume"]
