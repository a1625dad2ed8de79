"""Settings of the whole fleet on a real database: by the rings of upgrades, from a plan to all servers, or back."""

import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import fleet_configuration, ring_plans
from control_plane.cli.main import app
from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.fleet.configurations import in_force, settings_of
from control_plane.fleet.desired import raise_desired_version
from control_plane.fleet.reports import record_configuration_result
from control_plane.operators import upgrades
from control_plane.upgrades.configuration_plans import ConfigurationWish
from control_plane.upgrades.plans import Pace
from db.session import Database
from protos.agent.v1.configuration_pb2 import ConfigurationResult
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.operators.door import TESTER
from tests.integration.test_upgrades import NOW, OLD, QUICK, SECOND, count_deliveries, shown, states, tell, tick

SLOWER: Mapping[str, str | None] = {"smtp_destination_rate_delay": "1"}
SET = {"smtp_destination_rate_delay": "1"}
LONG = Pace(100, dt.timedelta(hours=1))
_OUTCOMES = {
    "running": ConfigurationResult.OUTCOME_APPLIED,
    "refused": ConfigurationResult.OUTCOME_REFUSED,
    "rolled_back": ConfigurationResult.OUTCOME_ROLLED_BACK,
}


@pytest.fixture
async def servers(system_database: Database, tenant: SomeTenant) -> list[uuid.UUID]:
    made = [await make_server(system_database, tenant) for _ in range(3)]
    for vps_id in made:
        await tell(system_database, vps_id, OLD, None, NOW)
        await settle(system_database, vps_id)
    return made


async def settle(database: Database, vps_id: uuid.UUID, status: str = "running", at: dt.datetime | None = None) -> int:
    """Let a server say what came of the newest version, and return that."""
    if at is not None:
        await tell(database, vps_id, OLD, None, at)
    async with database.system() as session:
        version = await session.scalar(text("SELECT desired_version FROM vps_servers WHERE id = :id"), {"id": vps_id})
        result = ConfigurationResult(version=version, outcome=_OUTCOMES[status], detail="as postconf said")
        await record_configuration_result(session, vps_id, result)
    assert version is not None
    return int(version)


async def begin(
    database: Database, canary: uuid.UUID, pace: Pace = QUICK, changes: Mapping[str, str | None] = SLOWER
) -> uuid.UUID:
    async with database.system() as session:
        plan = await upgrades.make_configuration_plan(session, TESTER, ConfigurationWish(changes, [canary], pace))
        await upgrades.apply_plan(session, TESTER, plan.id)
        return plan.id


async def set_on(database: Database, servers: list[uuid.UUID]) -> list[dict[str, str]]:
    async with database.system() as session:
        return [dict(await settings_of(session, vps_id)) for vps_id in servers]


async def versions(database: Database, servers: list[uuid.UUID]) -> list[int]:
    async with database.system() as session:
        rows = await session.execute(text("SELECT id, desired_version FROM vps_servers"))
        found = {row.id: row.desired_version for row in rows}
    return [found[vps_id] for vps_id in servers]


async def test_good_settings_go_from_ring_to_ring_and_are_in_force_for_whoever_comes_later(
    system_database: Database, servers: list[uuid.UUID], tenant: SomeTenant
) -> None:
    canary, *_ = servers
    before = await versions(system_database, servers)
    plan_id = await begin(system_database, canary)
    await tick(system_database, NOW)
    assert await set_on(system_database, servers) == [SET, {}, {}]
    assert await versions(system_database, servers) == [before[0] + 1, *before[1:]]
    late = await make_server(system_database, tenant)
    at, done = NOW, {canary}
    await settle(system_database, canary)
    for _ in range(2):
        await tick(system_database, at := at + SECOND)
        await tick(system_database, at := at + SECOND)
        told = {each for each, state in states(await shown(system_database, plan_id)).items() if state == "asked"}
        assert len(told) == 1
        await settle(system_database, told.copy().pop(), at=at)
        done |= told
    assert done == set(servers)
    assert await set_on(system_database, [late]) == [{}]
    version = (await versions(system_database, [late]))[0]
    await tick(system_database, at + SECOND)
    await tick(system_database, at + 2 * SECOND)

    ended = await shown(system_database, plan_id)
    assert (ended.plan.state, set(states(ended).values())) == ("done", {"installed"})
    assert await set_on(system_database, [*servers, late]) == [SET] * 4
    # Each was told once; the late one too, since it was made with what was in force then.
    assert await versions(system_database, servers) == [each + 1 for each in before]
    assert await versions(system_database, [late]) == [version + 1]
    async with system_database.system() as session:
        assert (await in_force(session)).settings == SET


@pytest.mark.parametrize("status", ["refused", "rolled_back"])
async def test_settings_that_a_canary_cannot_apply_reach_no_other_and_it_is_let_go_of_them(
    system_database: Database, servers: list[uuid.UUID], status: str
) -> None:
    # What it said of a version before is no answer.
    await settle(system_database, servers[0], status)
    plan_id = await begin(system_database, servers[0])
    await tick(system_database, NOW)
    await tick(system_database, NOW + SECOND)
    assert states(await shown(system_database, plan_id))[servers[0]] == "asked"
    await settle(system_database, servers[0], status)
    await tick(system_database, NOW + 2 * SECOND)
    await tick(system_database, NOW + 3 * SECOND)
    ended = await shown(system_database, plan_id)
    assert (ended.plan.state, ended.servers[0].reason) == (
        "rolled_back",
        f"{status.replace('_', ' ')}: as postconf said",
    )
    assert sorted(states(ended).values()) == ["failed", "waiting", "waiting"]
    assert await set_on(system_database, servers) == [{}, {}, {}]


async def test_settings_that_deliver_worse_are_taken_back_and_what_was_deferred_is_tried_at_once(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    await count_deliveries(system_database, canary, "health_hours", NOW - dt.timedelta(hours=3), (9_900, 100))
    plan_id = await begin(system_database, canary, LONG)
    await tick(system_database, NOW)
    version = await settle(system_database, canary)
    await tick(system_database, NOW + SECOND)
    window, later = NOW + dt.timedelta(minutes=5), NOW + dt.timedelta(minutes=10)
    await count_deliveries(system_database, canary, "health_samples", window, (100, 400))
    await tell(system_database, canary, OLD, None, later)
    await tick(system_database, later)
    failing = (await shown(system_database, plan_id)).plan
    assert failing.state == "rolling_back"
    assert "ring 0 delivers worse: 80.0% of 500 attempts were deferred, and 1.0% of 10000 before" in str(failing.reason)

    assert await tick(system_database, later + SECOND) == []
    assert await set_on(system_database, servers) == [{}, {}, {}]
    assert await versions(system_database, [canary]) == [version + 1]
    assert await tick(system_database, later + 2 * SECOND) == []
    await settle(system_database, canary)
    assert await tick(system_database, later + 3 * SECOND) == [(canary, "flush_queue")]
    ended = await shown(system_database, plan_id)
    assert (ended.plan.state, sorted(states(ended).values())) == ("rolled_back", ["reverted", "waiting", "waiting"])
    assert await tick(system_database, later + 4 * SECOND) == []


async def test_a_tenants_own_change_meanwhile_is_neither_held_up_nor_taken_for_the_plans(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    plan_id = await begin(system_database, servers[0], LONG)
    await tick(system_database, NOW)
    async with system_database.system() as session:
        newest = await raise_desired_version(session, servers[0])
    assert await settle(system_database, servers[0]) == newest
    await tick(system_database, NOW + SECOND)
    assert states(await shown(system_database, plan_id))[servers[0]] == "installed"
    async with system_database.system() as session:
        await raise_desired_version(session, servers[0])
    await tick(system_database, NOW + 2 * SECOND)
    shown_now = await shown(system_database, plan_id)
    assert (shown_now.plan.state, states(shown_now)[servers[0]]) == ("running", "installed")


async def test_an_aborted_plan_is_taken_from_those_that_were_only_asked(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    plan_id = await begin(system_database, servers[0])
    await tick(system_database, NOW)
    async with system_database.system() as session:
        await upgrades.abort_plan(session, TESTER, plan_id, "not today")
    await tick(system_database, NOW + SECOND)
    assert await set_on(system_database, servers) == [{}, {}, {}]
    await settle(system_database, servers[0])
    await tick(system_database, NOW + 2 * SECOND)
    assert (await shown(system_database, plan_id)).plan.state == "rolled_back"


async def test_a_server_whose_row_is_held_is_told_in_the_next_round(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    plan_id = await begin(system_database, servers[0])
    async with system_database.system() as other:
        await other.execute(text("SELECT FROM vps_servers WHERE id = :id FOR NO KEY UPDATE"), {"id": servers[0]})
        await tick(system_database, NOW)
    assert await set_on(system_database, servers) == [{}, {}, {}]
    await tick(system_database, NOW + SECOND)
    assert await set_on(system_database, servers) == [SET, {}, {}]
    assert states(await shown(system_database, plan_id))[servers[0]] == "asked"


async def test_plans_that_cannot_be(system_database: Database, servers: list[uuid.UUID]) -> None:
    async with system_database.system() as session:
        for changes, words in (
            ({"relayhost": "[evil.example]"}, "relayhost cannot be set"),
            ({"smtp_connect_timeout": "1"}, "from 5 to 120"),
            ({"smtp_connect_timeout": "30"}, "So it is already"),
            ({"smtp_connect_timeout": None}, "So it is already"),
        ):
            with pytest.raises(InvalidInput, match=words):
                await upgrades.make_configuration_plan(session, TESTER, ConfigurationWish(changes))
        with pytest.raises(NotFound, match="no server"):
            await upgrades.make_configuration_plan(session, TESTER, ConfigurationWish(SLOWER, [uuid.uuid4()]))


async def test_a_plan_that_other_settings_have_overtaken_must_be_made_anew(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    async with system_database.system() as session:
        wish = ConfigurationWish({"smtp_connect_timeout": "20"})
        early = await upgrades.make_configuration_plan(session, TESTER, wish)
        await session.execute(
            text(
                "INSERT INTO fleet_configurations (settings, proven_at)"
                """ VALUES ('{"smtp_destination_rate_delay": "1"}', now())"""
            )
        )
        with pytest.raises(Conflict, match="plan it anew"):
            await upgrades.apply_plan(session, TESTER, early.id)
        anew = await upgrades.make_configuration_plan(session, TESTER, wish)
        settings = await session.scalar(
            text("SELECT settings FROM fleet_configurations WHERE number = :number"), {"number": anew.configuration}
        )
        assert settings == {**SET, "smtp_connect_timeout": "20"}
        await upgrades.apply_plan(session, TESTER, anew.id)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> Callable[..., str]:
    """Runs `penguin fleet configuration ...` on the test's database and returns what it printed."""

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        try:
            async with opened.system() as transaction:
                yield transaction
        finally:
            await opened.close()

    for module in (fleet_configuration, ring_plans):
        monkeypatch.setattr(module, "system_session", session)

    def run(*words: object) -> str:
        result = CliRunner().invoke(app, ["fleet", "configuration", *map(str, words)])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_command_line_shows_what_a_plan_changes_and_carries_it_out(
    command: Callable[..., str], servers: list[uuid.UUID]
) -> None:
    [limit] = [each for each in json.loads(command("--json")) if each["name"] == "smtp_tls_security_level"]
    assert limit == {
        "name": "smtp_tls_security_level",
        "set": None,
        "shipped": "may",
        "may_be": "one of may, encrypt, verify",
    }
    words = ("--plan", "smtp_tls_security_level=encrypt", "--plan", "smtp_connect_timeout=20")
    plan = json.loads(command(*words, "--canary", servers[0], "--json"))
    [difference] = plan["differences"]
    assert len(difference["servers"]) == 3
    changed = {line for line in difference["diff"].splitlines() if line[0] in "+-" and line[:3] not in {"+++", "---"}}
    assert {"-smtp_tls_security_level = may", "+smtp_tls_security_level = encrypt"} < changed
    assert "+smtp_connect_timeout = 20" in changed
    assert not any("password" in line or "PRIVATE" in line for line in changed)
    assert "+smtp_tls_security_level = encrypt" in command("--diff", plan["id"])
    assert json.loads(command("--apply", plan["id"], "--json"))["state"] == "running"
    assert json.loads(command("--status", plan["id"], "--json"))["configuration"] == plan["configuration"]
    assert json.loads(command("--abort", plan["id"], "--json"))["state"] == "rolling_back"
