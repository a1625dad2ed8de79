"""A server's power, from REST to the provider."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import vps_deeds
from control_plane.cli.main import app
from control_plane.pipelines.step import Done, Failed, Outcome, Run
from control_plane.providers.base import Capability, PowerState, ServerOrder
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.power import PowerAction
from control_plane.provisioning.steps.switch_power import SwitchPower
from control_plane.settings import Settings
from db.models import OperatorAct
from db.session import Database
from tests.fakes.provider import FakeProvider
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem


class ResettableProvider(FakeProvider):
    """A cloud with a reset button, which counts what is asked of it."""

    capabilities = FakeProvider.capabilities | {Capability.RESET}

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def power_off(self, name: str) -> None:
        self.asked.append("off")
        await super().power_off(name)

    async def power_on(self, name: str) -> None:
        self.asked.append("on")
        await super().power_on(name)

    async def reboot(self, name: str) -> None:
        self.asked.append("reboot")
        await super().reboot(name)

    async def reset(self, name: str) -> None:
        self.asked.append("reset")


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(system_database, tenant)


async def switch(
    database: Database, tenant: SomeTenant, vps_id: uuid.UUID, action: PowerAction, provider: FakeProvider
) -> Outcome:
    settings = Settings.model_validate({"state_dir": "/nowhere"})
    environment = Environment(database, {"local": provider}, None, settings, None)  # type: ignore[arg-type] # unused
    run = Run(uuid.uuid4(), tenant.id, action.run_kind, vps_id, {})
    return await SwitchPower(action).run(StepContext(environment, run))


async def made_at(provider: FakeProvider, vps_id: uuid.UUID) -> str:
    name = f"pm-{vps_id.hex[:12]}"
    await provider.create(ServerOrder(name, "mx.penguin.example", "small", "here", "", ()))
    return name


async def test_off_and_on_are_asked_for_only_when_it_is_not_so_already(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    provider = ResettableProvider()
    name = await made_at(provider, vps_id)
    for action in (PowerAction.ON, PowerAction.OFF, PowerAction.OFF, PowerAction.ON):
        assert isinstance(await switch(system_database, tenant, vps_id, action, provider), Done)
    assert provider.asked == ["off", "on"]
    assert provider.servers[name].power is PowerState.RUNNING


@pytest.mark.parametrize("action", [PowerAction.REBOOT, PowerAction.RESET])
async def test_reboot_and_reset_are_asked_for_each_time(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID, action: PowerAction
) -> None:
    provider = ResettableProvider()
    await made_at(provider, vps_id)
    assert await switch(system_database, tenant, vps_id, action, provider) == Done({"changed": True})
    assert provider.asked == [action.value]


async def test_what_the_provider_cannot_do_or_does_not_know_fails(
    system_database: Database, tenant: SomeTenant, vps_id: uuid.UUID
) -> None:
    provider = FakeProvider()
    assert isinstance(await switch(system_database, tenant, vps_id, PowerAction.ON, provider), Failed)
    await made_at(provider, vps_id)
    assert await switch(system_database, tenant, vps_id, PowerAction.RESET, provider) == Failed(
        "the provider local has no reset"
    )


async def test_the_power_is_switched_by_a_run_that_the_server_shows(
    rest_client: httpx.AsyncClient, vps_id: uuid.UUID
) -> None:
    answer = await rest_client.post(f"vps/{vps_id}/power", json={"action": "reboot"})
    assert (answer.status_code, answer.json()["kind"], answer.json()["state"]) == (202, "vps.power_reboot", "waiting")
    shown = (await rest_client.get(f"vps/{vps_id}")).json()
    assert (shown["operation"], shown["provisioning"]) == (answer.json(), None)
    body = problem(await rest_client.post(f"vps/{vps_id}/power", json={"action": "off"}), 409, "conflict")
    assert "vps.power_reboot" in body["detail"]


async def test_what_cannot_be_done_is_refused(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant,
    vps_id: uuid.UUID,
) -> None:  # fmt: skip
    body = problem(await rest_client.post(f"vps/{vps_id}/power", json={"action": "reset"}), 409, "conflict")
    assert body["detail"] == "The provider local has no reset."
    problem(await rest_client.post(f"vps/{vps_id}/power", json={"action": "explode"}), 422, "invalid-input")
    problem(await other_client.post(f"vps/{vps_id}/power", json={"action": "off"}), 404, "not-found")
    unready = await make_server(system_database, tenant, status="provisioning")
    problem(await rest_client.post(f"vps/{unready}/power", json={"action": "off"}), 409, "conflict")
    async with system_database.system() as session:
        assert (await session.execute(text("SELECT FROM pipeline_runs"))).all() == []


async def test_an_operator_switches_power_and_that_is_recorded(
    system_database: Database, database: FreshDatabase, monkeypatch: pytest.MonkeyPatch, vps_id: uuid.UUID
) -> None:
    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        async with opened.system() as transaction:
            yield transaction
        await opened.close()

    monkeypatch.setattr(vps_deeds, "system_session", session)
    # The command runs an event loop of its own.
    result = await asyncio.to_thread(
        CliRunner().invoke, app, ["vps", "power", str(vps_id), "off", "--reason", "smoke", "--json"]
    )
    assert result.exit_code == 0, result.output
    async with system_database.system() as database_session:
        run = (await database_session.execute(text("SELECT id, kind FROM pipeline_runs"))).one()
        act = await database_session.scalar(select(OperatorAct))
    assert json.loads(result.stdout) == {"vps_id": str(vps_id), "run_id": str(run.id)}
    assert run.kind == "vps.power_off"
    assert act is not None
    assert (act.act, act.subject["vps_id"], act.reason) == ("vps.power", str(vps_id), "smoke")
