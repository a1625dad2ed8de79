"""Versions of the mail packages on a real database: by the rings of upgrades, from a plan to all servers, or back."""

import datetime as dt
import uuid

import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.healing.heal import heal
from control_plane.healing.rules import read_rules
from control_plane.operators import upgrades
from control_plane.upgrades.package_plans import PackagesWish
from control_plane.upgrades.plans import Pace
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from protos.agent.v1.telemetry_pb2 import AgentUpgrade, HealthReport
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.operators.door import TESTER
from tests.integration.test_upgrades import NOW, OLD, QUICK, SECOND, count_deliveries, shown, states, tell, tick

WISH = {"postfix": ["3.7.12-0+deb12u1", "3.10.5-1+deb13u1"], "opendkim": ["2.11.0-9"]}
AS_FOUND = "as-found"


@pytest.fixture
async def servers(system_database: Database, tenant: SomeTenant) -> list[uuid.UUID]:
    made = [await make_server(system_database, tenant) for _ in range(3)]
    for vps_id in made:
        await tell(system_database, vps_id, OLD, None, NOW)
    return made


async def begin(database: Database, canary: uuid.UUID, pace: Pace = QUICK) -> tuple[uuid.UUID, str]:
    """Return the plan's id, and what its change is called on servers."""
    async with database.system() as session:
        plan = await upgrades.make_package_plan(session, TESTER, PackagesWish(WISH, [canary], pace))
        await upgrades.apply_plan(session, TESTER, plan.id)
        return plan.id, f"packages-{plan.id}"


async def say(
    database: Database, vps_id: uuid.UUID, change: str, state: str, at: dt.datetime, *, reason: str = ""
) -> None:
    """Say what a server's report says of its packages."""
    said = AgentUpgrade(release=change, state=state, previous=AS_FOUND, reason=reason, at_ms=int(at.timestamp() * 1000))
    await tell(database, vps_id, OLD, None, at)
    async with database.system() as session:
        more = {"id": vps_id, "more": MessageToJson(HealthReport(package_change=said))}
        await session.execute(
            text("UPDATE vps_reports SET report = report || CAST(:more AS jsonb) WHERE vps_id = :id"), more
        )


async def install(database: Database, vps_id: uuid.UUID, change: str, at: dt.datetime) -> dt.datetime:
    """Go through what a good server goes through, and return when it was installed."""
    await say(database, vps_id, change, "installing", at + 5 * SECOND)
    assert await tick(database, at + 6 * SECOND) == []
    await say(database, vps_id, change, "watching", at + 10 * SECOND)
    assert await tick(database, at + 11 * SECOND) == [(vps_id, "confirm_packages")]
    await say(database, vps_id, change, "installed", at + 30 * SECOND)
    assert await tick(database, at + 31 * SECOND) == []
    return at + 31 * SECOND


async def test_good_versions_go_from_ring_to_ring(system_database: Database, servers: list[uuid.UUID]) -> None:
    plan_id, change = await begin(system_database, servers[0])
    at = NOW
    for ring in range(3):
        for vps_id, state in states(await shown(system_database, plan_id)).items():
            if state == "installed":
                await say(system_database, vps_id, change, "installed", at)
            else:
                await tell(system_database, vps_id, OLD, None, at)
        [(vps_id, kind)] = await tick(system_database, at + SECOND) or await tick(system_database, at + 2 * SECOND)
        assert (kind, ring > 0 or vps_id == servers[0]) == ("change_packages", True)
        at = await install(system_database, vps_id, change, at + 2 * SECOND)
    await tick(system_database, at + SECOND)
    ended = await shown(system_database, plan_id)
    assert (ended.plan.state, ended.plan.rings, ended.plan.packages) == ("done", 3, WISH)
    assert set(states(ended).values()) == {"installed"}


async def restarted(database: Database, at: dt.datetime) -> list[uuid.UUID]:
    """Let self-healing look at all servers, linked as they are, and return those whose mail servers it restarts."""
    async with database.system() as session:
        await session.execute(text("UPDATE vps_servers SET last_seen_at = :at"), {"at": at})
        await heal(session, read_rules(), at)
        return list(await session.scalars(text("SELECT vps_id FROM healing_acts ORDER BY began_at, id")))


async def test_a_mail_server_that_is_down_while_its_packages_are_changed_is_not_restarted(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    canary, other, _ = servers
    _, change = await begin(system_database, canary)
    await tick(system_database, NOW)
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO health_checks (vps_id, tenant_id, kind, state, sentence, at, changed_at)"
                " SELECT id, tenant_id, 'mail_server', 'fail', 'Because.', :at, :at FROM vps_servers"
                " WHERE id IN (:canary, :other)"
            ),
            {"at": NOW, "canary": canary, "other": other},
        )
    assert await restarted(system_database, NOW) == []
    assert await restarted(system_database, NOW + 15 * SECOND) == [other]
    at = await install(system_database, canary, change, NOW + 20 * SECOND)
    assert await restarted(system_database, at + 14 * SECOND) == [other]
    assert await restarted(system_database, at + 15 * SECOND) == [other, canary]


async def test_what_is_ordered_is_what_was_planned(system_database: Database, servers: list[uuid.UUID]) -> None:
    _, change = await begin(system_database, servers[0])
    await tick(system_database, NOW)
    async with system_database.system() as session:
        content = await session.scalar(text("SELECT command FROM server_commands"))
    deed = Command.FromString(content or b"").change_packages
    assert (deed.release, deed.patience_seconds) == (change, QUICK.patience.total_seconds())
    assert {each.name: list(each.versions) for each in deed.packages} == WISH


@pytest.mark.parametrize("state", ["refused", "rolled_back"])
async def test_a_canary_that_stays_or_goes_back_stops_the_plan(
    system_database: Database, servers: list[uuid.UUID], state: str
) -> None:
    plan_id, change = await begin(system_database, servers[0])
    await tick(system_database, NOW)
    await say(system_database, servers[0], change, state, NOW + 30 * SECOND, reason="opendkim.service ended for good")
    assert await tick(system_database, NOW + 31 * SECOND) == []
    assert await tick(system_database, NOW + 36 * SECOND) == []
    ended = await shown(system_database, plan_id)
    assert ended.plan.state == "rolled_back"
    assert sorted(states(ended).values()) == ["failed", "waiting", "waiting"]
    assert "opendkim.service ended for good" in (ended.servers[0].reason or "")


async def test_versions_that_deliver_worse_are_taken_back_and_what_waited_is_tried(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    await count_deliveries(system_database, canary, "health_hours", NOW - dt.timedelta(hours=3), (9_900, 100))
    plan_id, change = await begin(system_database, canary, Pace(100, dt.timedelta(hours=1)))
    await tick(system_database, NOW)
    at = await install(system_database, canary, change, NOW)
    await count_deliveries(system_database, canary, "health_samples", at + dt.timedelta(minutes=1), (300, 200))
    later = at + dt.timedelta(minutes=6)
    await say(system_database, canary, change, "installed", later)
    assert await tick(system_database, later) == []
    assert "ring 0 delivers worse" in ((await shown(system_database, plan_id)).plan.reason or "")
    assert await tick(system_database, later + 5 * SECOND) == [(canary, "roll_back_packages")]
    await say(system_database, canary, change, "rolled_back", later + 9 * SECOND)
    assert await tick(system_database, later + 10 * SECOND) == [(canary, "flush_queue")]
    ended = await shown(system_database, plan_id)
    assert (ended.plan.state, states(ended)[canary]) == ("rolled_back", "reverted")


async def test_a_server_that_has_not_been_confirmed_when_the_plan_ends_goes_back_by_itself(
    system_database: Database, servers: list[uuid.UUID]
) -> None:
    plan_id, change = await begin(system_database, servers[0])
    await tick(system_database, NOW)
    async with system_database.system() as session:
        await upgrades.abort_plan(session, TESTER, plan_id, "not today")
    await say(system_database, servers[0], change, "watching", NOW + 10 * SECOND)
    assert await tick(system_database, NOW + 11 * SECOND) == []
    await say(system_database, servers[0], change, "rolled_back", NOW + 200 * SECOND)
    assert await tick(system_database, NOW + 201 * SECOND) == [(servers[0], "flush_queue")]
    assert (await shown(system_database, plan_id)).plan.state == "rolled_back"


async def test_one_plan_at_a_time_whatever_it_brings(system_database: Database, servers: list[uuid.UUID]) -> None:
    await begin(system_database, servers[0])
    with pytest.raises(Conflict, match="Another plan is under way"):
        await begin(system_database, servers[1])


async def test_what_cannot_be_planned_is_said_so(system_database: Database, servers: list[uuid.UUID]) -> None:
    for wish, error, words in (
        (PackagesWish({"bash": ["5.2"]}), InvalidInput, "bash is none of"),
        (PackagesWish({"postfix": ["3.7 or so"]}), InvalidInput, "no version"),
        (PackagesWish({}), InvalidInput, "no package"),
        (PackagesWish(WISH, [uuid.uuid4()]), NotFound, "no server"),
    ):
        async with system_database.system() as session:
            with pytest.raises(error, match=words):
                await upgrades.make_package_plan(session, TESTER, wish)
