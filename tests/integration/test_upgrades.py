"""Plans on a real database: from an operator's word over commands to servers, to a release that is proven or failed."""

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from agent.upgrade.signed import PREFIX, NotSigned, verify
from control_plane.enrolment.authority import RELEASE_PREFIX, Authority
from control_plane.enrolment.identity import AgentIdentity
from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.monitoring.metrics import METRICS, POSITION
from control_plane.monitoring.rings import Ring
from control_plane.monitoring.samples import keep_values, value_rows
from control_plane.operators import upgrades
from control_plane.sealing import Sealer
from control_plane.upgrades.advance import advance_upgrade
from control_plane.upgrades.plans import Pace, PlanView, Wish, list_plans, rings_of, show_plan
from control_plane.upgrades.releases import add_release, list_releases, store_release
from db.models import Upgrade
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from protos.agent.v1.telemetry_pb2 import AgentUpgrade, Destination, HealthReport, Relay, Unit
from tests.fakes.hub import FakeAuthority
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.operators.door import TESTER
from tests.integration.running_hub import csr, make_key

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
#: From one look at all servers to the next.
LOOK = dt.timedelta(minutes=5)
OLD = "1-old"
NO_MORE = HealthReport()
MIB = 1 << 20
#: Quick: a ring is left once its servers have the release, or after a hundred attempts where those are waited for.
QUICK = Pace(minimum_sends=100, soak=dt.timedelta(0))


def make_wheelhouse(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a-2-py3-none-any.whl").write_bytes(b"wheel")
    wheels = [{"name": "a-2-py3-none-any.whl", "sha256": hashlib.sha256(b"wheel").hexdigest()}]
    (folder / "manifest.json").write_text(json.dumps({"version": "2", "wheels": wheels}))
    return folder


@pytest.fixture
def authority_of(tmp_path: Path) -> Sealer:
    return Sealer.of_file(tmp_path / "sealing.key")


@pytest.fixture
async def authority(system_database: Database, authority_of: Sealer) -> Authority:
    async with system_database.system() as session:
        return await Authority.load_or_create(session, authority_of, "penguin.example")


@pytest.fixture
async def release(system_database: Database, authority: Authority, tmp_path: Path) -> str:
    stored = store_release(make_wheelhouse(tmp_path / "wheelhouse"), tmp_path / "releases")
    async with system_database.system() as session:
        return await add_release(session, authority, stored)


@pytest.fixture
async def servers(system_database: Database, tenant: SomeTenant) -> list[uuid.UUID]:
    made = [await make_server(system_database, tenant) for _ in range(3)]
    for vps_id in made:
        await tell(system_database, vps_id, OLD, None, NOW)
    return made


async def tell(
    database: Database,
    vps_id: uuid.UUID,
    runs: str,
    state: str | None,
    at: dt.datetime,
    *,
    more: HealthReport = NO_MORE,
) -> None:
    """Say what a server's report says, and that it is linked."""
    report = HealthReport(at_ms=int(at.timestamp() * 1000))
    report.MergeFrom(more)
    if state:
        report.agent_upgrade.CopyFrom(AgentUpgrade(release=runs, state=state, at_ms=report.at_ms))
    async with database.system() as session:
        if state == "rolled_back":
            report.agent_upgrade.release = (await list_releases(session))[0].name
            report.agent_upgrade.reason = "it ended 3 times within 9 s"
        await session.execute(
            text(
                "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
                " SELECT id, tenant_id, :at, :at, CAST(:report AS jsonb) FROM vps_servers WHERE id = :id"
                " ON CONFLICT (vps_id) DO UPDATE SET report = excluded.report"
            ),
            {"id": vps_id, "at": at, "report": MessageToJson(report, preserving_proto_field_name=True)},
        )
        await session.execute(
            text(
                "UPDATE vps_servers SET agent_version = :runs, link_session = gen_random_uuid(), last_seen_at = :at"
                " WHERE id = :id"
            ),
            {"id": vps_id, "at": at, "runs": runs},
        )
        await keep_values(session, value_rows(vps_id, report, at))


async def tick(database: Database, at: dt.datetime) -> list[tuple[uuid.UUID, str]]:
    """Let the job run once and return what servers were told by it."""
    async with database.system() as session:
        await session.execute(text("DELETE FROM server_commands"))
        await advance_upgrade(session, at)
        rows = (await session.execute(text("SELECT vps_id, kind FROM server_commands"))).all()
    return [(row.vps_id, row.kind) for row in rows]


async def begin(database: Database, release: str, canary: uuid.UUID, pace: Pace = QUICK) -> uuid.UUID:
    async with database.system() as session:
        plan = await upgrades.make_plan(session, TESTER, Wish(release, [canary], pace))
        await upgrades.apply_plan(session, TESTER, plan.id)
        return plan.id


async def shown(database: Database, plan_id: uuid.UUID) -> PlanView:
    async with database.system() as session:
        return await show_plan(session, plan_id)


async def install(database: Database, vps_id: uuid.UUID, release: str, at: dt.datetime) -> dt.datetime:
    """Go through what a good server goes through, and return when it was installed."""
    await tell(database, vps_id, release, "watching", at + 10 * SECOND)
    assert (vps_id, "confirm_release") in await tick(database, at + 11 * SECOND)
    await tell(database, vps_id, release, "installed", at + 20 * SECOND)
    assert await tick(database, at + 21 * SECOND) == []
    return at + 21 * SECOND


async def count_deliveries(
    database: Database, vps_id: uuid.UUID, table: str, at: dt.datetime, counted: tuple[int, int]
) -> None:
    """Write a roll-up of so many that were delivered, and deferred."""
    measured = [0.0] * len(METRICS)
    measured[POSITION["delivered.google"]], measured[POSITION["deferred.google"]] = map(float, counted)
    ring = {"health_samples": Ring.SAMPLES, "health_hours": Ring.HOURS}[table]
    async with database.system() as session:
        await session.execute(
            text(
                f"INSERT INTO {table} (tenant_id, vps_id, at, slot, measured)"  # noqa: S608 - one of two
                " SELECT tenant_id, id, :at, :slot, :measured FROM vps_servers WHERE id = :id"
            ),
            {"id": vps_id, "at": at, "slot": ring.slot(at), "measured": measured},
        )


async def state_of(database: Database, release: str) -> str:
    async with database.system() as session:
        return next(each.state for each in await list_releases(session) if each.name == release)


def states(view: PlanView) -> dict[uuid.UUID, str]:
    return {each.vps_id: each.state for each in view.servers}


async def test_a_good_release_goes_from_ring_to_ring(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    plan_id = await begin(system_database, release, canary)
    assert await tick(system_database, NOW) == [(canary, "upgrade_agent")]
    assert await tick(system_database, NOW + SECOND) == []
    at = await install(system_database, canary, release, NOW)
    for _ in range(2):
        for vps_id in servers:
            running = release if states(await shown(system_database, plan_id))[vps_id] == "installed" else OLD
            if running == OLD:
                await tell(system_database, vps_id, OLD, None, at)
        told = await tick(system_database, at + SECOND) or await tick(system_database, at + 2 * SECOND)
        assert [kind for _, kind in told] == ["upgrade_agent"]
        at = await install(system_database, told[0][0], release, at + 2 * SECOND)
    await tick(system_database, at + SECOND)

    ended = await shown(system_database, plan_id)
    assert (ended.plan.state, ended.plan.rings) == ("done", 3)
    assert set(states(ended).values()) == {"installed"}
    assert await state_of(system_database, release) == "proven"
    async with system_database.system() as session:
        assert await advance_upgrade(session, NOW) is None


async def test_what_is_ordered_is_what_was_signed(
    system_database: Database, release: str, servers: list[uuid.UUID], authority: Authority, tmp_path: Path
) -> None:
    await begin(system_database, release, servers[0])
    async with system_database.system() as session:
        await advance_upgrade(session, NOW)
        content = await session.scalar(text("SELECT command FROM server_commands"))
    deed = Command.FromString(content or b"").upgrade_agent
    manifest = (tmp_path / "releases" / deed.release / "manifest.json").read_bytes()
    assert deed.manifest_sha256 == hashlib.sha256(manifest).hexdigest()
    assert (tmp_path / "releases" / release / "a-2-py3-none-any.whl").read_bytes() == b"wheel"
    now = dt.datetime.now(dt.UTC)
    assert PREFIX == RELEASE_PREFIX
    verify(manifest, deed.signature, deed.certificate, authority.certificate_pem, now)
    for bad in (
        (manifest + b" ", deed.signature, deed.certificate, authority.certificate_pem, now),
        (manifest, deed.signature, deed.certificate, other_authority(), now),
        (manifest, deed.signature, door_certificate(authority), authority.certificate_pem, now),
        (manifest, deed.signature, b"noise", authority.certificate_pem, now),
        (manifest, deed.signature, deed.certificate, authority.certificate_pem, now + dt.timedelta(days=1000)),
    ):
        with pytest.raises(NotSigned):
            verify(*bad)


def other_authority() -> bytes:
    return FakeAuthority().pem


def door_certificate(authority: Authority) -> bytes:
    """A certificate of the same authority for another use."""
    pem = authority.issue_for("10.77.0.1:7443").certificate_pem
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


async def test_a_canary_that_goes_back_by_itself_stops_the_plan(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    plan_id = await begin(system_database, release, servers[0])
    await tick(system_database, NOW)
    await tell(system_database, servers[0], OLD, "rolled_back", NOW + 30 * SECOND)
    assert await tick(system_database, NOW + 31 * SECOND) == []
    assert await tick(system_database, NOW + 36 * SECOND) == []
    ended = await shown(system_database, plan_id)
    assert ended.plan.state == "rolled_back"
    assert sorted(states(ended).values()) == ["failed", "waiting", "waiting"]
    assert ended.servers[0].reason == "rolled back: it ended 3 times within 9 s"
    assert await state_of(system_database, release) == "failed"
    with pytest.raises(Conflict, match="rolled back before"):
        await begin(system_database, release, servers[0])


async def test_a_release_that_delivers_worse_is_taken_back(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    await count_deliveries(system_database, canary, "health_hours", NOW - dt.timedelta(hours=3), (9_900, 100))
    plan_id = await begin(system_database, release, canary, Pace(100, dt.timedelta(hours=1)))
    await tick(system_database, NOW)
    at = await install(system_database, canary, release, NOW)
    await count_deliveries(system_database, canary, "health_samples", at - dt.timedelta(minutes=5), (0, 5_000))
    assert await tick(system_database, at + 5 * SECOND) == []
    assert (await shown(system_database, plan_id)).plan.state == "running"

    window = at + dt.timedelta(minutes=1)
    await count_deliveries(system_database, canary, "health_samples", window, (300, 200))
    later = at + dt.timedelta(minutes=6)
    await tell(system_database, canary, release, "installed", later)
    assert await tick(system_database, later) == []
    failing = (await shown(system_database, plan_id)).plan
    assert failing.state == "rolling_back"
    assert "ring 0 delivers worse: 40.0% of 500 attempts were deferred, and 1.0% of 10000 before" in (
        failing.reason or ""
    )
    assert await tick(system_database, later + 5 * SECOND) == [(canary, "roll_back_agent")]
    await tell(system_database, canary, OLD, "rolled_back", later + 9 * SECOND)
    await tick(system_database, later + 10 * SECOND)
    ended = await shown(system_database, plan_id)
    assert (ended.plan.state, states(ended)[canary]) == ("rolled_back", "reverted")


def counted(since: dt.datetime, delivered: int, deferred: int) -> HealthReport:
    """Say what an agent counted since it started."""
    tried = Destination(provider="google", delivered=delivered, deferred=deferred)
    return HealthReport(counting_since_ms=int(since.timestamp() * 1000), destinations=[tried])


async def test_servers_without_roll_ups_are_judged_by_what_they_report(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary, before, now = servers[0], NOW + 10 * SECOND, NOW + dt.timedelta(minutes=20)
    # What was counted before the agent was last started is not taken for less.
    for at, said in (
        (before - SECOND, counted(NOW, 70_000, 0)),
        (before + SECOND, counted(before, 100, 10)),
        (now - SECOND, counted(before, 1_090, 20)),
    ):
        await tell(system_database, canary, OLD, None, at, more=said)
    plan_id = await begin(system_database, release, canary, Pace(100, dt.timedelta(hours=1)))
    await tick(system_database, now)
    at = await install(system_database, canary, release, now)

    # Whatever it counted by the first report is not of the time since then.
    await tell(system_database, canary, release, "installed", at + SECOND, more=counted(now, 50, 500))
    await tell(system_database, canary, release, "installed", at + 15 * SECOND, more=counted(now, 140, 509))
    await tick(system_database, at + 16 * SECOND)
    assert (await shown(system_database, plan_id)).plan.state == "running"
    await tell(system_database, canary, release, "installed", at + 30 * SECOND, more=counted(now, 200, 550))
    await tick(system_database, at + 31 * SECOND)
    worse = "ring 0 delivers worse: 25.0% of 200 attempts were deferred, and 1.0% of 1000 before"
    assert worse in ((await shown(system_database, plan_id)).plan.reason or "")


async def test_a_release_whose_sends_are_refused_by_our_own_postfix_is_taken_back(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]

    def handed_over(taken: int, refused: int, since: dt.datetime = NOW) -> HealthReport:
        since_ms = int(since.timestamp() * 1000)
        return HealthReport(counting_since_ms=since_ms, relay=Relay(handed_over=taken, refused=refused))

    now = NOW + dt.timedelta(minutes=20)
    for at, said in ((NOW + SECOND, handed_over(0, 0)), (now - SECOND, handed_over(990, 10))):
        await tell(system_database, canary, OLD, None, at, more=said)
    plan_id = await begin(system_database, release, canary, Pace(1000, dt.timedelta(hours=1)))
    await tick(system_database, now)
    at = await install(system_database, canary, release, now)

    for seconds, taken, refused in ((1, 0, 0), (15, 60, 0), (30, 60, 1)):
        said = handed_over(taken, refused, at)
        await tell(system_database, canary, release, "installed", at + seconds * SECOND, more=said)
        await tick(system_database, at + (seconds + 1) * SECOND)
    assert (await shown(system_database, plan_id)).plan.state == "running"
    await tell(system_database, canary, release, "installed", at + 45 * SECOND, more=handed_over(60, 20, at))
    await tick(system_database, at + 46 * SECOND)
    worse = "ring 0 delivers worse: 25.0% of 80 sends were refused before Postfix had them, and 1.0% of 1000 before"
    assert worse in ((await shown(system_database, plan_id)).plan.reason or "")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (HealthReport(agent_rss_bytes=90 * MIB), "its agent takes 90 MiB, and 50 before"),
        (HealthReport(units=[Unit(name="penguin-agent.service", restarts=3)]), "its agent ended 3 times"),
        (HealthReport(agent_rss_bytes=70 * MIB, units=[Unit(name="dovecot.service", restarts=3)]), ""),
    ],
)
async def test_a_release_that_leaks_or_ends_later_is_taken_back(
    system_database: Database, release: str, servers: list[uuid.UUID], after: HealthReport, words: str
) -> None:
    canary = servers[0]
    await tell(system_database, canary, OLD, None, NOW - SECOND, more=HealthReport(agent_rss_bytes=50 * MIB))
    plan_id = await begin(system_database, release, canary, Pace(100, dt.timedelta(hours=1)))
    await tick(system_database, NOW)
    at = await install(system_database, canary, release, NOW)
    await tell(system_database, canary, release, "installed", at + 15 * SECOND, more=after)
    told = await tick(system_database, at + 16 * SECOND) or await tick(system_database, at + 17 * SECOND)
    assert told == ([(canary, "roll_back_agent")] if words else [])
    reason = (await shown(system_database, plan_id)).plan.reason or ""
    assert (words in reason, bool(reason)) == (True, bool(words))


async def watched_canary(database: Database, release: str, canary: uuid.UUID) -> tuple[uuid.UUID, dt.datetime]:
    """Return a plan whose first ring is watched for longer than any test, and when its canary had the release."""
    plan_id = await begin(database, release, canary, Pace(100, dt.timedelta(hours=1)))
    await tick(database, NOW)
    return plan_id, await install(database, canary, release, NOW)


async def plan_after(database: Database, plan_id: uuid.UUID, at: dt.datetime) -> Upgrade:
    """Let the job run once, and return how the plan stands then; its servers are heard of."""
    async with database.system() as session:
        await session.execute(text("UPDATE vps_servers SET last_seen_at = :at"), {"at": at})
    await tick(database, at)
    return (await shown(database, plan_id)).plan


async def test_a_check_that_goes_on_failing_takes_it_back_and_one_that_failed_before_does_not(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    await find_check(system_database, canary, "dns", "fail", NOW - SECOND)
    plan_id, at = await watched_canary(system_database, release, canary)
    for look in range(1, 4):
        # Nobody could tell in between.
        await find_check(system_database, canary, "dns", "fail", at + look * LOOK)
        assert (await plan_after(system_database, plan_id, at + look * LOOK)).state == "running"
    await find_check(system_database, canary, "queue", "fail", at + 4 * LOOK)
    assert (await plan_after(system_database, plan_id, at + 5 * LOOK - SECOND)).state == "running"
    await look_again(system_database, canary, at + 5 * LOOK)
    assert str((await plan_after(system_database, plan_id, at + 5 * LOOK)).reason).endswith(f"{canary}: queue")


async def test_what_is_over_at_the_next_look_takes_nothing_back(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    plan_id, at = await watched_canary(system_database, release, canary)
    await find_check(system_database, canary, "queue", "fail", at + SECOND)
    await find_check(system_database, canary, "mail_server", "fail", at + SECOND, stopped="{postfix@-.service}")
    assert (await plan_after(system_database, plan_id, at + 30 * SECOND)).state == "running"
    await find_check(system_database, canary, "mail_server", "ok", at + 31 * SECOND, stopped="{}")
    assert (await plan_after(system_database, plan_id, at + 40 * SECOND)).state == "running"
    await find_check(system_database, canary, "queue", "ok", at + LOOK)
    assert (await plan_after(system_database, plan_id, at + 2 * LOOK)).state == "running"


async def test_a_daemon_that_stands_still_takes_it_back_within_half_a_minute(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    plan_id, at = await watched_canary(system_database, release, canary)
    await find_check(system_database, canary, "mail_server", "fail", at + SECOND, stopped="{postfix@-.service}")
    assert (await plan_after(system_database, plan_id, at + 30 * SECOND)).state == "running"
    assert str((await plan_after(system_database, plan_id, at + 31 * SECOND)).reason).endswith("mail_server")


async def test_a_port_that_was_shut_at_one_look_is_no_more_than_that(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    plan_id, at = await watched_canary(system_database, release, canary)
    await find_check(system_database, canary, "mail_server", "fail", at + SECOND)
    assert (await plan_after(system_database, plan_id, at + LOOK)).state == "running"
    await look_again(system_database, canary, at + LOOK + SECOND)
    assert (await plan_after(system_database, plan_id, at + LOOK + SECOND)).state == "rolling_back"


async def test_what_begins_to_fail_before_it_is_installed_and_goes_on_takes_it_back(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    # No ring is watched.
    plan_id = await begin(system_database, release, canary, Pace(0, dt.timedelta(0)))
    await tick(system_database, NOW)
    await find_check(system_database, canary, "mail_server", "fail", NOW + SECOND, stopped="{postfix@-.service}")
    at = await install(system_database, canary, release, NOW)
    held = await plan_after(system_database, plan_id, at + 29 * SECOND)
    assert (held.state, held.ring) == ("running", 0)
    assert (await plan_after(system_database, plan_id, at + 30 * SECOND)).state == "rolling_back"


async def test_what_failed_before_and_was_well_since_counts_when_it_fails_again(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    await find_check(system_database, canary, "mail_server", "fail", NOW - SECOND, stopped="{postfix@-.service}")
    plan_id, at = await watched_canary(system_database, release, canary)
    assert (await plan_after(system_database, plan_id, at + LOOK)).state == "running"
    await find_check(system_database, canary, "mail_server", "ok", at + LOOK, stopped="{}")
    assert (await plan_after(system_database, plan_id, at + LOOK + SECOND)).state == "running"
    again = at + 2 * LOOK
    await find_check(system_database, canary, "mail_server", "fail", again, stopped="{postfix@-.service}")
    assert (await plan_after(system_database, plan_id, again + 30 * SECOND)).state == "rolling_back"


async def test_what_failed_on_a_server_that_had_the_release_already_is_not_the_plans(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    canary = servers[0]
    plan_id = await begin(system_database, release, canary, Pace(100, dt.timedelta(hours=1)))
    await tell(system_database, canary, release, None, NOW)
    await find_check(system_database, canary, "queue", "fail", NOW - SECOND)
    assert (await plan_after(system_database, plan_id, NOW)).state == "running"
    await look_again(system_database, canary, NOW + LOOK)
    assert (await plan_after(system_database, plan_id, NOW + LOOK)).state == "running"


async def refuse_configuration(database: Database, vps_id: uuid.UUID) -> None:
    async with database.system() as session:
        await session.execute(
            text("UPDATE vps_servers SET mail_server_status = 'refused' WHERE id = :id"), {"id": vps_id}
        )


@pytest.mark.parametrize("was_refused_before", [False, True])
async def test_a_release_whose_rendering_a_server_refuses_is_taken_back(
    system_database: Database, release: str, servers: list[uuid.UUID], was_refused_before: bool
) -> None:
    canary = servers[0]
    if was_refused_before:
        await refuse_configuration(system_database, canary)
    # No ring is watched: what it renders is known once it is installed.
    plan_id = await begin(system_database, release, canary, Pace(0, dt.timedelta(0)))
    await tick(system_database, NOW)
    await refuse_configuration(system_database, canary)
    await install(system_database, canary, release, NOW)
    plan = (await shown(system_database, plan_id)).plan
    assert (plan.state, plan.ring) == (("running", 1) if was_refused_before else ("rolling_back", 0))
    assert was_refused_before or str(plan.reason).endswith("configuration")


async def find_check(
    database: Database, vps_id: uuid.UUID, kind: str, state: str, at: dt.datetime, *, stopped: str | None = None
) -> None:
    """Keep what a look at all servers finds of one, or the watch does by the daemons that have stopped there."""
    async with database.system() as session:
        await session.execute(
            text(
                "INSERT INTO health_checks (vps_id, kind, tenant_id, state, sentence, at, changed_at)"
                " SELECT id, :kind, tenant_id, :state, 'Because.', :at, :at FROM vps_servers WHERE id = :id"
                " ON CONFLICT (vps_id, kind) DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at"
            ),
            {"id": vps_id, "kind": kind, "state": state, "at": at},
        )
        if stopped is not None:
            stop = text("UPDATE vps_servers SET stopped_units = CAST(:stopped AS text[]) WHERE id = :id")
            await session.execute(stop, {"id": vps_id, "stopped": stopped})
    if stopped is None:
        await look_again(database, vps_id, at)


async def look_again(database: Database, vps_id: uuid.UUID, at: dt.datetime) -> None:
    """Say that a server was checked."""
    async with database.system() as session:
        await session.execute(
            text(
                "INSERT INTO server_health (vps_id, tenant_id, checked_at, state, metrics, agent_version_since)"
                " SELECT id, tenant_id, :at, 'fail', '{}', :at FROM vps_servers WHERE id = :id"
                " ON CONFLICT (vps_id) DO UPDATE SET checked_at = excluded.checked_at"
            ),
            {"id": vps_id, "at": at},
        )


async def test_an_aborted_plan_takes_back_what_has_the_release(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    plan_id = await begin(system_database, release, servers[0], Pace(100, dt.timedelta(hours=1)))
    await tick(system_database, NOW)
    at = await install(system_database, servers[0], release, NOW)
    async with system_database.system() as session:
        await upgrades.abort_plan(session, TESTER, plan_id, "another is better")
        acts: Sequence[Any] = (
            await session.execute(text("SELECT act, reason FROM operator_acts ORDER BY id DESC LIMIT 1"))
        ).all()
    assert [tuple(act) for act in acts] == [("upgrade.abort", "another is better")]
    assert await tick(system_database, at + SECOND) == [(servers[0], "roll_back_agent")]
    # It was away when it was told: it is told again.
    assert await tick(system_database, at + 5 * SECOND) == []
    assert await tick(system_database, at + 31 * SECOND) == [(servers[0], "roll_back_agent")]
    await tell(system_database, servers[0], OLD, "rolled_back", at + 40 * SECOND)
    await tick(system_database, at + 41 * SECOND)
    assert (await shown(system_database, plan_id)).plan.state == "rolled_back"


async def test_one_plan_is_under_way_at_a_time(
    system_database: Database, release: str, servers: list[uuid.UUID]
) -> None:
    await begin(system_database, release, servers[0])
    with pytest.raises(Conflict, match="Another plan"):
        await begin(system_database, release, servers[0])
    async with system_database.system() as session:
        assert [each.state for each in await list_plans(session, None, 10)] == ["running"]


async def test_plans_that_cannot_be(
    system_database: Database, release: str, servers: list[uuid.UUID], tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="no release"):
        await begin(system_database, "0.0.9", servers[0])
    with pytest.raises(NotFound, match="no server"):
        await begin(system_database, release, uuid.uuid4())
    for vps_id in servers:
        await tell(system_database, vps_id, release, None, NOW)
    async with system_database.system() as session:
        with pytest.raises(InvalidInput, match="No server"):
            await upgrades.make_plan(session, TESTER, Wish(release))
    with pytest.raises(InvalidInput, match="no wheelhouse"):
        store_release(tmp_path / "nowhere", tmp_path / "releases")


def test_rings_are_a_canary_a_tenth_and_the_rest() -> None:
    fleet = [uuid.uuid4() for _ in range(45)]
    assert [len(ring) for ring in rings_of(fleet, [])] == [1, 5, 39]
    assert rings_of(fleet, fleet[3:5])[0] == fleet[3:5]
    assert [len(ring) for ring in rings_of(fleet[:2], [])] == [1, 1]
    assert [len(ring) for ring in rings_of(fleet[:1], [])] == [1]


async def test_an_agents_certificate_signs_no_release(authority: Authority, tenant: SomeTenant) -> None:
    issued = authority.issue_agent(csr(make_key()), AgentIdentity(tenant.id, uuid.uuid4()))
    der = x509.load_pem_x509_certificate(issued.pem).public_bytes(Encoding.DER)
    with pytest.raises(NotSigned, match="not for releases"):
        verify(b"{}", b"0" * 64, der, authority.certificate_pem, dt.datetime.now(dt.UTC))
