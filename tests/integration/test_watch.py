"""What the watch knows in seconds, with given clocks, and with a real hub and an agent's link."""

import asyncio
import datetime as dt
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.fleet.hearing import AWAY_AFTER, BACK_WITHIN, SILENT, beat
from control_plane.fleet.reports import record_reports, report_row
from control_plane.monitoring.alert_rules import read_rules
from control_plane.monitoring.alerts import advance_alerts
from control_plane.monitoring.health_check import check_health
from control_plane.monitoring.probe import Look
from control_plane.monitoring.samples import keep_values, value_rows
from control_plane.monitoring.watch import look, watch_for_ever
from db.session import Database
from protos.agent.v1.link_pb2 import AgentMessage
from protos.agent.v1.telemetry_pb2 import Disk, HealthReport, Unit
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.running_hub import running_hub

NOW = utc_now()
SECOND = dt.timedelta(seconds=1)
HUB = uuid.UUID(int=1)
RULES = read_rules()


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    vps_id = await make_server(system_database, tenant)
    await execute(
        system_database,
        "INSERT INTO hubs VALUES (:hub, :long_ago, :now)",
        hub=HUB,
        long_ago=NOW - 3600 * SECOND,
        now=NOW,
    )
    return vps_id


async def execute(database: Database, statement: str, **values: object) -> None:
    async with database.system() as session:
        await session.execute(text(statement), values)


async def heard(database: Database, at: dt.datetime, *stopped: str) -> None:
    """Let all servers be heard of, and the hub hear, at a moment."""
    units = [Unit(name=name, active_state="inactive", sub_state="dead") for name in stopped]
    units.append(Unit(name="dovecot.service", active_state="active", sub_state="running"))
    report = {"units": [{"name": unit.name, "active_state": unit.active_state} for unit in units]}
    await execute(
        database,
        "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
        " SELECT id, tenant_id, :at, :at, CAST(:report AS jsonb) FROM vps_servers"
        " ON CONFLICT (vps_id) DO UPDATE SET report = excluded.report",
        at=at,
        report=str(report).replace("'", '"'),
    )
    await execute(
        database, "UPDATE vps_servers SET last_seen_at = :at, stopped_units = :stopped", at=at, stopped=list(stopped)
    )
    await hearing(database, at)


async def hearing(database: Database, at: dt.datetime) -> None:
    await execute(database, "UPDATE hubs SET seen_at = :at", at=at)


async def looked(database: Database, at: dt.datetime) -> list[tuple[str, str]]:
    """Watch once, and return the alerts that are not over."""
    async with database.system() as session:
        await look(session, RULES, at)
        rows = await session.execute(
            text("SELECT rule, state FROM alerts WHERE state <> 'resolved' AND rule <> 'version'")
        )
        return [(row.rule, row.state) for row in rows]


async def seconds_until_open(database: Database, start: dt.datetime) -> float:
    """Return when the first alert opens if the watch looks each time it has a reason to."""
    at = start
    while at - start < 60 * SECOND:
        await hearing(database, at)
        async with database.system() as session:
            again = await look(session, RULES, at)
            opened = await session.scalar(text("SELECT count(*) FROM alerts WHERE state = 'open'"))
        if opened:
            return (at - start).total_seconds()
        at = max(again, at + SECOND / 10)
    raise AssertionError("no alert within a minute")


async def test_a_dead_server_is_known_within_thirty_seconds(system_database: Database, vps_id: uuid.UUID) -> None:
    await heard(system_database, NOW)
    assert SILENT.total_seconds() < await seconds_until_open(system_database, NOW) <= 30
    assert await looked(system_database, NOW + 40 * SECOND) == [("unreachable", "open")]


async def filled(database: Database, vps_id: uuid.UUID, at: dt.datetime, free: int, lasts: int | None = None) -> None:
    """Let a server report a disk of which so many of a hundred octets are free, and how long it lasts."""
    disk = Disk(mount="/var", total_bytes=100, free_bytes=free, seconds_to_full=lasts)
    report = HealthReport(at_ms=int(at.timestamp() * 1000), disks=[disk])
    async with database.system() as session:
        await record_reports(session, [report_row(vps_id, uuid.uuid4(), report)])
        await keep_values(session, value_rows(vps_id, report, at))
    await execute(database, "UPDATE vps_servers SET last_seen_at = :at", at=at)
    await execute(database, "UPDATE vps_reports SET received_at = :at", at=at)
    await hearing(database, at)


async def test_a_disk_that_fills_is_told_of_at_the_first_report_that_says_so_with_its_time(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await filled(system_database, vps_id, NOW, 74)
    assert await looked(system_database, NOW) == []
    # By the warning alone nobody is told for five minutes, in which this disk would be full.
    await filled(system_database, vps_id, NOW + 60 * SECOND, 14, 14)
    assert await looked(system_database, NOW + 61 * SECOND) == [("disk_full", "open")]
    async with system_database.system() as session:
        assert await session.scalar(text("SELECT sentence FROM alerts")) == "/var is 86% full, and full in 14 seconds."
    await filled(system_database, vps_id, NOW + 120 * SECOND, 60)
    assert await looked(system_database, NOW + 121 * SECOND) == [("disk_full", "open")]


async def test_a_disk_that_is_nearly_full_and_fills_no_more_is_told_of_after_five_minutes(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    for minutes in range(6):
        await filled(system_database, vps_id, NOW + minutes * 60 * SECOND, 14)
        pending = await looked(system_database, NOW + minutes * 60 * SECOND)
        assert pending == [("disk", "open" if minutes == 5 else "pending")]


async def test_a_stopped_postfix_is_known_within_three_seconds_of_being_told(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await heard(system_database, NOW, "postfix@-.service")
    assert await seconds_until_open(system_database, NOW) <= 3
    async with system_database.system() as session:
        kinds = await session.execute(text("SELECT kind, state FROM health_checks"))
        assert ("mail_server", "fail") in {(row.kind, row.state) for row in kinds}


async def test_a_postfix_that_is_restarted_is_no_alert(system_database: Database, vps_id: uuid.UUID) -> None:
    await heard(system_database, NOW, "postfix@-.service")
    assert await looked(system_database, NOW) == [("mail_server", "pending")]
    await heard(system_database, NOW + 1.5 * SECOND)
    assert await looked(system_database, NOW + 1.5 * SECOND) == []


async def test_a_server_that_is_heard_of_again_in_time_is_no_alert(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await heard(system_database, NOW)
    await execute(system_database, "UPDATE vps_servers SET link_session = NULL")
    await hearing(system_database, NOW + 25 * SECOND)
    assert await looked(system_database, NOW + 25 * SECOND) == []
    await heard(system_database, NOW + 25 * SECOND)
    assert await looked(system_database, NOW + 40 * SECOND) == []


async def test_nobody_is_dead_because_the_hubs_are_away_or_have_just_come_back(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await heard(system_database, NOW)
    away = NOW + 300 * SECOND
    assert await looked(system_database, away) == []
    await execute(system_database, "UPDATE hubs SET seen_at = :at, hearing_since = :at", at=away)
    assert await looked(system_database, away) == []
    grace = away + BACK_WITHIN
    await hearing(system_database, grace)
    assert await looked(system_database, grace) == []
    for later in (1, 2, 3):
        await hearing(system_database, grace + later * SECOND)
        alerts = await looked(system_database, grace + later * SECOND)
    assert alerts == [("unreachable", "open")]


async def test_a_hub_that_stays_away_excuses_its_servers_for_a_while_and_an_open_alert_stays_open(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await heard(system_database, NOW)
    assert await seconds_until_open(system_database, NOW) <= 30
    other = NOW + 35 * SECOND
    await execute(system_database, "INSERT INTO hubs VALUES (:id, :at, :at)", id=uuid.UUID(int=2), at=other)
    await execute(system_database, "UPDATE hubs SET seen_at = :at WHERE id = :id", id=HUB, at=NOW + 30 * SECOND)
    for later in (1, 30, 90):
        at = other + later * SECOND
        await execute(system_database, "UPDATE hubs SET seen_at = :at WHERE id = :id", id=uuid.UUID(int=2), at=at)
        assert await looked(system_database, at) == [("unreachable", "open")]


async def test_a_hub_whose_signs_were_missing_hears_anew(system_database: Database, vps_id: uuid.UUID) -> None:
    await execute(system_database, "UPDATE hubs SET seen_at = now() - CAST(:away AS interval)", away=2 * AWAY_AFTER)
    async with system_database.system() as session:
        await beat(session, HUB)
        fresh = await session.scalar(text("SELECT hearing_since = now() FROM hubs"))
        await beat(session, HUB)
        again = await session.scalar(text("SELECT count(*) FROM hubs WHERE hearing_since = seen_at"))
    assert (fresh, again) == (True, 1)


async def test_ports_that_were_shut_stay_an_alert_until_they_are_looked_at_again(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    async def shut(_: str) -> dict[int, Look]:
        return {25: Look(error="no answer")}

    await heard(system_database, NOW)
    checked = await check_health(system_database, NOW, 10, shut)
    async with system_database.system() as session:
        await advance_alerts(session, RULES, checked, NOW)
    assert await looked(system_database, NOW + SECOND) == [("mail_server", "pending")]
    assert await looked(system_database, NOW + 3 * SECOND) == [("mail_server", "open")]


@pytest.mark.parametrize(
    ("packages", "told_after"), [('{"postfix": ["3.7.11"]}', 122), (None, 2)], ids=["packages", "settings"]
)
async def test_a_mail_server_that_a_plan_changes_packages_of_is_told_of_if_it_lasts(
    system_database: Database, vps_id: uuid.UUID, packages: str | None, told_after: int
) -> None:
    await execute(
        system_database,
        "WITH given AS (INSERT INTO fleet_configurations (settings) VALUES ('{}') RETURNING number), plan AS ("
        " INSERT INTO upgrades (packages, configuration, state, rings, minimum_sends, soak_seconds, patience_seconds,"
        "  requested_by) SELECT CAST(:packages AS jsonb), CASE WHEN CAST(:packages AS jsonb) IS NULL THEN number END,"
        "  'running', 1, 0, 0, 1, 'tester' FROM given RETURNING id)"
        " INSERT INTO upgrade_servers (upgrade_id, vps_id, tenant_id, ring, state, since)"
        " SELECT plan.id, v.id, v.tenant_id, 0, 'asked', :now FROM plan, vps_servers v",
        packages=packages,
        now=NOW,
    )
    opened: dict[int, str] = {}
    for second in (0, 1, 2, 60, 120, 121, 122):
        at = NOW + second * SECOND
        await heard(system_database, at, "postfix@-.service")
        async with system_database.system() as session:
            again = await look(session, RULES, at)
        # It is looked at each second, also while it is overdue.
        assert again - at == SECOND
        opened[second] = (await looked(system_database, at))[0][1]
    assert next(second for second, state in opened.items() if state == "open") == told_after


async def test_two_workers_that_watch_open_one_alert(system_database: Database, vps_id: uuid.UUID) -> None:
    await heard(system_database, NOW, "postfix@-.service")
    async with system_database.system() as one, system_database.system() as two:
        await look(one, RULES, NOW)
        await look(two, RULES, NOW)
    assert await looked(system_database, NOW) == [("mail_server", "pending")]


async def nothing_follows(_session: object, _now: dt.datetime) -> None:
    """Tell nobody."""


def report(*, running: bool) -> AgentMessage:
    state = "active" if running else "inactive"
    units = [Unit(name="postfix@-.service", active_state=state), Unit(name="dovecot.service", active_state="active")]
    return AgentMessage(health=HealthReport(at_ms=time.time_ns() // 1_000_000, units=units))


async def test_a_hub_tells_the_watch_of_a_stopped_postfix_within_seconds(
    database: FreshDatabase,
    system_database: Database,
    tenant: SomeTenant,
    redis_server: EmbeddedRedis,
    tmp_path: Path,
) -> None:
    async with running_hub(database, redis_server.url, tmp_path) as hub:
        agent = await hub.credentials(tenant.id, await make_server(system_database, tenant))
        watching = asyncio.create_task(watch_for_ever(system_database, RULES, utc_now, nothing_follows))
        try:
            async with hub.linked(agent) as link:
                await link.send(report(running=True))
                stopped_at = time.monotonic()
                await link.send(report(running=False))
                opened = await opened_alert(system_database)
                seconds = time.monotonic() - stopped_at
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert opened == "mail_server"
    # What is left of five seconds is the agent's, which takes less than two to see it (agent/metrics/due.py).
    assert seconds < 3


async def opened_alert(database: Database) -> Any:  # noqa: ANN401 - whatever rule it is of
    async with asyncio.timeout(20):
        while True:
            async with database.system() as session:
                rule = await session.scalar(text("SELECT rule FROM alerts WHERE state = 'open'"))
            if rule:
                return rule
            await asyncio.sleep(0.05)
