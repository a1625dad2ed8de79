"""Values of reports over time, and the check of all servers, on a real database."""

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from control_plane.monitoring.health_check import check_health
from control_plane.monitoring.metrics import METRICS, derive, derive_destinations
from control_plane.monitoring.probe import Look
from control_plane.monitoring.rings import Ring
from control_plane.monitoring.samples import drop_old, keep_values, roll_up, value_rows
from control_plane.monitoring.states import Check
from db.session import Database
from protos.agent.v1.telemetry_pb2 import Destination, Disk, HealthReport, Host
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server

#: The beginning of a five-minute window, and of an hour.
START = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(system_database, tenant)


def report(
    at: dt.datetime,
    *,
    load: float = 1.0,
    delivered: int = 0,
    deferred: int = 0,
    free: int = 50,
    lasts: int | None = None,
) -> HealthReport:
    return HealthReport(
        at_ms=int(at.timestamp() * 1000),
        host=Host(load_1m=load),
        disks=[Disk(mount="/", total_bytes=100, free_bytes=free, seconds_to_full=lasts)],
        destinations=[Destination(provider="google", delivered=delivered, deferred=deferred)],
    )


async def keep(database: Database, vps_id: uuid.UUID, told: HealthReport, at: dt.datetime) -> None:
    async with database.system() as session:
        await keep_values(session, value_rows(vps_id, told, at))


async def rolled(database: Database, now: dt.datetime, table: str = "health_samples") -> dict[dt.datetime, list[Any]]:
    async with database.system() as session:
        await session.execute(text("UPDATE health_reports SET received_at = at"))
        await roll_up(session, now)
        return {row.at: row.measured for row in await session.execute(text(f"SELECT at, measured FROM {table}"))}  # noqa: S608


async def test_five_minutes_are_the_mean_of_gauges_and_the_growth_of_counters(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    told = [(-1, 1.0, 10, 0), (1, 2.0, 16, 1), (2, 4.0, 18, 2), (3, 6.0, 3, 0)]
    for minute, load, delivered, deferred in told:
        at = START + minute * MINUTE
        await keep(system_database, vps_id, report(at, load=load, delivered=delivered, deferred=deferred), at)

    samples = await rolled(system_database, START + 6 * MINUTE)

    window = samples[START]
    assert len(window) == len(METRICS)
    assert derive(window)["load_1m"] == 4.0
    # 10 to 18, and 3 since the agent began again.
    assert derive_destinations(window) == {
        "google": {
            "delivered": 11.0,
            "deferred": 2.0,
            "bounced": 0.0,
            "deferred_ratio": pytest.approx(2 / 13),
            "bounced_ratio": 0.0,
        }
    }
    hours = await rolled(system_database, START + 6 * MINUTE, "health_hours")
    assert hours[START] == window


async def test_rolling_up_twice_is_rolling_up_once(system_database: Database, vps_id: uuid.UUID) -> None:
    await keep(system_database, vps_id, report(START + MINUTE), START + MINUTE)
    first = await rolled(system_database, START + 6 * MINUTE)
    assert await rolled(system_database, START + 6 * MINUTE) == first


async def test_windows_that_ended_while_nobody_rolled_up_are_rolled_up_within_the_hour(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    for minute in (1, 6, 11, 16, 21):
        await keep(system_database, vps_id, report(START + minute * MINUTE), START + minute * MINUTE)
    assert set(await rolled(system_database, START + 5 * MINUTE)) == {START}
    assert set(await rolled(system_database, START + 26 * MINUTE)) == {START + n * 5 * MINUTE for n in range(5)}


async def test_a_report_that_comes_after_its_window_was_rolled_up_still_counts(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await keep(system_database, vps_id, report(START + MINUTE, load=1.0), START + MINUTE)
    await rolled(system_database, START + 5 * MINUTE)
    await keep(system_database, vps_id, report(START + 2 * MINUTE, load=3.0), START + 2 * MINUTE)
    async with system_database.system() as session:
        received = {"received": START + 6 * MINUTE, "at": START + 2 * MINUTE}
        await session.execute(text("UPDATE health_reports SET received_at = at"))
        await session.execute(text("UPDATE health_reports SET received_at = :received WHERE at = :at"), received)
        await roll_up(session, START + 10 * MINUTE)
        (window,) = await session.scalars(text("SELECT measured FROM health_samples"))
    assert derive(window)["load_1m"] == 2.0


async def test_reports_from_while_a_server_was_away_are_kept_once_and_at_their_time(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    back = START + 40 * MINUTE
    told = report(back)
    told.backlog.extend([report(back - 30 * MINUTE), report(back - 20 * MINUTE), report(back - 90 * MINUTE)])
    await keep(system_database, vps_id, told, back)
    again = report(back + MINUTE)
    again.backlog.extend([report(back - 20 * MINUTE)])
    await keep(system_database, vps_id, again, back + MINUTE)

    async with system_database.system() as session:
        await session.execute(text("UPDATE health_reports SET received_at = :back"), {"back": back})
        kept = list(await session.scalars(text("SELECT at FROM health_reports ORDER BY at")))
        await roll_up(session, back + 5 * MINUTE)
        sampled = list(await session.scalars(text("SELECT at FROM health_samples ORDER BY at")))

    assert kept == [back - 30 * MINUTE, back - 20 * MINUTE, back, back + MINUTE]
    assert sampled == [back - 30 * MINUTE, back - 20 * MINUTE, back]


async def test_what_is_out_of_time_is_dropped_and_what_is_not_stays(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    for hours in (-2, -1, 0):
        at = START + hours * 60 * MINUTE
        await keep(system_database, vps_id, report(at), at)
    async with system_database.system() as session:
        await drop_old(session, START)
        kept = list(await session.scalars(text("SELECT at FROM health_reports ORDER BY at")))
    assert kept == [START - 60 * MINUTE, START]


async def test_the_slots_of_sql_are_those_of_python(system_database: Database, vps_id: uuid.UUID) -> None:
    for days in (0, 31, 62):
        at = START + dt.timedelta(days=days)
        await keep(system_database, vps_id, report(at), at)
        await rolled(system_database, at + 6 * MINUTE)
    async with system_database.system() as session:
        for table, ring in (("health_samples", Ring.SAMPLES), ("health_hours", Ring.HOURS)):
            slots = {row.at: row.slot for row in await session.execute(text(f"SELECT at, slot FROM {table}"))}  # noqa: S608
            assert len(slots) == 3
            assert slots == {at: ring.slot(at) for at in slots}


async def look_well(_: str) -> Mapping[int, Look]:
    return {port: Look(not_after=START + dt.timedelta(days=60)) for port in (25, 465, 587, 993)}


async def look_dead(_: str) -> Mapping[int, Look]:
    return {port: Look(error="no answer") for port in (25, 465, 587, 993)}


async def states(database: Database) -> dict[str, tuple[str, dt.datetime]]:
    async with database.system() as session:
        rows = await session.execute(text("SELECT kind, state, changed_at FROM health_checks"))
        return {row.kind: (row.state, row.changed_at) for row in rows}


async def tell(database: Database, vps_id: uuid.UUID, told: HealthReport, at: dt.datetime) -> None:
    statement = text(
        "WITH seen AS (UPDATE vps_servers SET link_session = gen_random_uuid(), last_seen_at = :at WHERE id = :vps"
        " RETURNING id, tenant_id) INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
        " SELECT id, tenant_id, :at, :at, CAST(:report AS jsonb) FROM seen"
        " ON CONFLICT (vps_id) DO UPDATE SET report = excluded.report"
    )
    told_json = MessageToJson(told, preserving_proto_field_name=True)
    async with database.system() as session:
        await session.execute(statement, {"vps": vps_id, "at": at, "report": told_json})
        await keep_values(session, value_rows(vps_id, told, at))


async def test_every_server_is_checked_and_a_change_of_state_is_dated(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await tell(system_database, vps_id, report(START), START)
    await check_health(system_database, START, 10, look_well)
    well = await states(system_database)
    assert set(well) == set(Check)
    assert {kind: well[kind][0] for kind in ("reachable", "mail_server", "ssl", "disk")} == {
        "reachable": "ok",
        "mail_server": "ok",
        "ssl": "ok",
        "disk": "ok",
    }

    later = START + 5 * MINUTE
    async with system_database.system() as session:
        await session.execute(
            text("INSERT INTO hubs VALUES (gen_random_uuid(), :since, :now)"),
            {"since": START - 10 * MINUTE, "now": later},
        )
    await check_health(system_database, later, 10, look_dead)
    dead = await states(system_database)
    assert (dead["reachable"], dead["mail_server"]) == (("fail", later), ("fail", later))
    assert dead["blocklist"] == well["blocklist"]
    async with system_database.system() as session:
        row = (await session.execute(text("SELECT state, metrics FROM server_health"))).one()
    assert row.state == "fail"
    assert row.metrics["disk_used_ratio"] == 0.5
    assert json.dumps(row.metrics, allow_nan=False)


@pytest.mark.parametrize(
    ("lasts", "state", "sentence"),
    [
        (3600, "warn", "/ is 40% full, and full in 60 minutes."),
        (None, "ok", "/ is 40% full."),
    ],
)
async def test_a_disk_that_fills_is_told_of_before_it_is_full(
    system_database: Database, vps_id: uuid.UUID, *, lasts: int | None, state: str, sentence: str
) -> None:
    await tell(system_database, vps_id, report(START, free=60, lasts=lasts), START)
    await check_health(system_database, START, 10, look_well)
    async with system_database.system() as session:
        disk = (await session.execute(text("SELECT state, sentence FROM health_checks WHERE kind = 'disk'"))).one()
    assert (disk.state, disk.sentence) == (state, sentence)
    assert await disk_full_seconds(system_database) == lasts
    # What a silent server foretold is no news.
    await check_health(system_database, START + MINUTE, 10, look_well)
    assert await disk_full_seconds(system_database) is None


async def disk_full_seconds(database: Database) -> float | None:
    async with database.system() as session:
        found: float | None = await session.scalar(text("SELECT metrics -> 'disk_full_seconds' FROM server_health"))
        return found


async def test_an_agent_that_grows_for_hours_is_told_of(system_database: Database, vps_id: uuid.UUID) -> None:
    for hour in range(8):
        at = START + (60 * hour + 30) * MINUTE
        told = report(at)
        told.agent_rss_bytes = (40 + 2 * hour) << 20
        await tell(system_database, vps_id, told, at)
        await rolled(system_database, at + 6 * MINUTE)
        # The hour that is not over does not count yet.
        await check_health(system_database, at, 10, look_well)
        assert (await states(system_database))["agent_memory"][0] == ("ok" if hour < 7 else "warn")
    async with system_database.system() as session:
        sentence = await session.scalar(text("SELECT sentence FROM health_checks WHERE kind = 'agent_memory'"))
        metrics = await session.scalar(text("SELECT metrics FROM server_health"))
    assert sentence == "Its agent takes 54 MiB, and grew by 12 in 6 hours without a stop."
    assert metrics["agent_memory_bytes"] == 54 << 20


async def test_a_server_that_is_not_monitored_is_not_looked_at_and_nothing_is_kept_of_it(
    system_database: Database, vps_id: uuid.UUID
) -> None:
    await check_health(system_database, START, 10, look_well)
    assert await states(system_database)
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET monitoring_enabled = false"))

    async def look_never(address: str) -> Mapping[int, Look]:
        raise AssertionError(address)

    assert await check_health(system_database, START, 10, look_never) == []
    assert await states(system_database) == {}


async def test_a_tenant_sees_no_others_values(
    system_database: Database, api_database: Database, vps_id: uuid.UUID, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    await tell(system_database, vps_id, report(START), START)
    await check_health(system_database, START + 5 * MINUTE, 10, look_well)
    for who, expected in ((tenant, True), (other_tenant, False)):
        async with api_database.tenant(who.id) as session:
            for table in ("health_reports", "health_samples", "server_health", "health_checks"):
                found = await session.scalar(text(f"SELECT EXISTS (SELECT FROM {table})"))  # noqa: S608 - ours
                assert found is expected, table
