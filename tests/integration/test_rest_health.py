"""Health of a server and of a fleet, at the tenants' door."""

import datetime as dt
import json
import uuid

import httpx
import pytest
from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.fleet.reports import record_reports, report_row
from control_plane.monitoring.fleet import Wanted, fleet_health
from control_plane.monitoring.metrics import METRICS, POSITION
from control_plane.monitoring.rings import Ring
from control_plane.monitoring.samples import HOUR, STEP, floor, keep_values, value_rows
from db.session import Database
from protos.agent.v1.commands_pb2 import Command
from protos.agent.v1.telemetry_pb2 import Disk, HealthReport, Host, PostfixQueue, QueuedProviders
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem, walked

NOW = utc_now()


async def checked(
    database: Database, vps_id: uuid.UUID, state: str = "ok", checks: dict[str, str] | None = None, **metrics: object
) -> uuid.UUID:
    """Keep a server's health as the job does."""
    health = text(
        "INSERT INTO server_health (vps_id, tenant_id, checked_at, state, metrics, agent_version_since)"
        " SELECT id, tenant_id, :now, :state, CAST(:metrics AS jsonb), :now FROM vps_servers WHERE id = :vps"
    )
    check = text(
        "INSERT INTO health_checks (vps_id, tenant_id, kind, state, sentence, at, changed_at)"
        " SELECT id, tenant_id, :kind, :state, 'Because.', :now, :now FROM vps_servers WHERE id = :vps"
    )
    async with database.system() as session:
        row = {"vps": vps_id, "now": NOW, "state": state, "metrics": json.dumps(metrics)}
        await session.execute(health, row)
        for kind, state_of_check in (checks or {}).items():
            await session.execute(check, {"vps": vps_id, "kind": kind, "state": state_of_check, "now": NOW})
    return vps_id


async def sampled(database: Database, vps_id: uuid.UUID, at: dt.datetime, **values: float) -> None:
    measured: list[float | None] = [None] * len(METRICS)
    for name, value in values.items():
        measured[POSITION[name.replace("__", ".")]] = value
    keep = text(
        "INSERT INTO health_samples (tenant_id, vps_id, at, slot, measured)"
        " SELECT tenant_id, id, :at, :slot, :measured FROM vps_servers WHERE id = :vps"
    )
    async with database.system() as session:
        await session.execute(keep, {"vps": vps_id, "at": at, "slot": Ring.SAMPLES.slot(at), "measured": measured})


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(system_database, tenant)


async def test_a_server_shows_its_checks_gravest_first(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    await checked(system_database, vps_id, "fail", {"disk": "ok", "queue": "warn", "ssl": "fail"})
    body = (await rest_client.get(f"vps/{vps_id}/health")).json()
    assert body["state"] == "fail"
    assert [(check["kind"], check["state"]) for check in body["checks"]] == [
        ("ssl", "fail"),
        ("queue", "warn"),
        ("disk", "ok"),
    ]
    assert (body["series"], body["last_report"]) == (None, None)
    problem(await other_client.get(f"vps/{vps_id}/health"), 404, "not-found")


async def test_what_was_done_about_a_server_without_a_person_is_shown_to_its_tenant(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO healing_acts (id, tenant_id, vps_id, rule, act, reason, state, began_at)"
                " SELECT gen_random_uuid(), tenant_id, id, 'listed', 'slow_sending', 'On a list.', 'standing', :now"
                " FROM vps_servers"
            ),
            {"now": NOW},
        )
    [act] = (await rest_client.get(f"vps/{vps_id}/health")).json()["healing"]
    assert (act["act"], act["rule"], act["reason"], act["state"]) == (
        "slow_sending",
        "listed",
        "On a list.",
        "standing",
    )
    assert (act["detail"], act["ended_at"]) == (None, None)


async def test_what_changed_before_it_got_worse_is_told(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    await checked(system_database, vps_id, "fail", {"queue": "fail"})
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET applied_version = 7, applied_at = :at"), {"at": NOW - STEP})
    await sampled(system_database, vps_id, floor(NOW, STEP) - 20 * HOUR, delivered__google=19)
    await sampled(system_database, vps_id, floor(NOW, STEP) - 2 * STEP, delivered__google=500)
    changes = (await rest_client.get(f"vps/{vps_id}/health")).json()["changes"]
    assert [(change["kind"], change["detail"]) for change in changes] == [
        ("version", "its agent became another"),
        ("configuration", "configuration 7 was applied"),
        ("volume", "500 attempts in the hour before, 1 in an hour of the day before"),
    ]


async def commanded(database: Database, vps_id: uuid.UUID, at: dt.datetime, command: Command, state: str) -> None:
    """Keep a command that a plan gave a server."""
    async with database.system() as session:
        await session.execute(
            text(
                "INSERT INTO server_commands"
                " (id, tenant_id, vps_id, kind, command, requested_by, deadline, state, created_at)"
                " SELECT gen_random_uuid(), tenant_id, id, :kind, :command, 'upgrade', :at, :state, :at"
                " FROM vps_servers WHERE id = :vps"
            ),
            {
                "vps": vps_id,
                "kind": command.WhichOneof("deed"),
                "command": command.SerializeToString(),
                "at": at,
                "state": state,
            },
        )


async def test_each_release_and_all_packages_that_plans_gave_it_are_told(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID, tenant: SomeTenant
) -> None:
    await checked(system_database, vps_id, "fail", {"queue": "fail"})
    upgrade, back = Command(), Command()
    upgrade.upgrade_agent.release, back.roll_back_agent.release = "2-new", "2-new"
    packages, packages_back = Command(), Command()
    packages.change_packages.packages.add(name="opendkim", versions=["2.11"])
    packages.change_packages.packages.add(name="postfix", versions=["3.7.11", "3.10.4"])
    packages_back.roll_back_packages.release = "packages-1"
    elsewhere = await make_server(system_database, tenant)
    for minutes, command, state, server in (
        (130, packages_back, "done", vps_id),
        (50, upgrade, "done", vps_id),
        (49, upgrade, "done", vps_id),
        (40, back, "done", vps_id),
        (35, packages_back, "expired", vps_id),
        (30, packages, "done", vps_id),
        (25, packages_back, "done", elsewhere),
        (20, packages_back, "done", vps_id),
        (-1, packages, "done", vps_id),
    ):
        await commanded(system_database, server, NOW - minutes * dt.timedelta(minutes=1), command, state)
    changes = (await rest_client.get(f"vps/{vps_id}/health")).json()["changes"]
    assert [(change["kind"], change["detail"]) for change in changes] == [
        ("version", "its agent became another"),
        ("packages", "a plan had its packages become what they were before"),
        ("packages", "a plan had its packages become opendkim 2.11, postfix 3.7.11 or 3.10.4"),
        ("version", "a plan had its agent leave 2-new"),
        ("version", "a plan had its agent become 2-new"),
    ]
    assert changes[-1]["at"] == (NOW - dt.timedelta(minutes=50)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("waiting", []),
        ("installed", ["a plan gave it other settings of the fleet"]),
        ("reverted", ["a plan took settings of the fleet back", "a plan gave it other settings of the fleet"]),
    ],
)
async def test_settings_that_a_plan_gave_it_are_told_and_that_it_took_them_back(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID, state: str, told: list[str]
) -> None:
    await checked(system_database, vps_id, "fail", {"queue": "fail"})
    async with system_database.system() as session:
        await session.execute(
            text(
                "WITH given AS (INSERT INTO fleet_configurations (settings) VALUES ('{}') RETURNING number), plan AS ("
                " INSERT INTO upgrades"
                "  (configuration, rings, minimum_sends, soak_seconds, patience_seconds, requested_by)"
                " SELECT number, 1, 0, 0, 1, 'tester' FROM given RETURNING id)"
                " INSERT INTO upgrade_servers"
                "  (upgrade_id, vps_id, tenant_id, ring, state, since, asked_at, asked_version)"
                " SELECT plan.id, v.id, v.tenant_id, 0, CAST(:state AS text), :since, :asked, :version"
                " FROM plan, vps_servers v WHERE v.id = :vps"
            ),
            {
                "vps": vps_id,
                "state": state,
                "since": NOW - STEP,
                "asked": None if state == "waiting" else NOW - 2 * STEP,
                "version": None if state == "waiting" else 7,
            },
        )
    changes = (await rest_client.get(f"vps/{vps_id}/health")).json()["changes"]
    assert [change["detail"] for change in changes if change["kind"] == "configuration"] == told


async def test_a_metric_is_a_series_of_its_steps(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    start = floor(NOW, HOUR) - 3 * HOUR
    for step, (deferred, delivered) in enumerate([(1, 9), (3, 7), (8, 2)]):
        at = start + step * STEP
        await sampled(system_database, vps_id, at, deferred__google=deferred, delivered__google=delivered, load_1m=step)

    async def values(metric: str, step: int) -> list[float]:
        query = {"metric": metric, "from": start.isoformat(), "to": NOW.isoformat(), "step": str(step)}
        answer = await rest_client.get(f"vps/{vps_id}/health", params=query)
        return [point["value"] for point in answer.json()["series"]]

    assert await values("load_1m", 300) == [0, 1, 2]
    assert await values("deferred_ratio.google", 300) == [0.1, 0.3, 0.8]
    assert await values("deferred_ratio", 900) == [0.4]
    assert await values("deferred_ratio.yahoo", 300) == []


async def test_a_metric_or_a_step_that_there_is_not_is_refused(
    rest_client: httpx.AsyncClient, vps_id: uuid.UUID
) -> None:
    for query in (
        {"metric": "password"},
        {"metric": "load_1m.google"},
        {"metric": "load_1m", "from": "1999-01-01T00:00:00Z"},
    ):
        answer = await rest_client.get(f"vps/{vps_id}/health", params=query)
        assert answer.status_code == 422, query


async def test_the_last_hours_reports_can_be_read(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    at = utc_now()
    async with system_database.system() as session:
        await keep_values(session, value_rows(vps_id, HealthReport(at_ms=1, host=Host(load_1m=0.5)), at))
    [report] = (await rest_client.get(f"vps/{vps_id}/health/reports")).json()
    assert report["metrics"]["load_1m"] == 0.5


async def test_the_last_report_tells_how_long_each_disk_lasts_and_what_waits_by_age_and_for_whom(
    rest_client: httpx.AsyncClient, system_database: Database, vps_id: uuid.UUID
) -> None:
    disks = [Disk(mount="/", seconds_to_full=3600), Disk(mount="/var", seconds_to_no_inodes=60)]
    queue = PostfixQueue(deferred=3, deferred_ages=[0, 1, 2, 0, 0], deferred_providers=QueuedProviders(google=3))
    report = HealthReport(at_ms=1, disks=disks, postfix_queue=queue)
    async with system_database.system() as session:
        await record_reports(session, [report_row(vps_id, uuid.uuid4(), report)])
    told = (await rest_client.get(f"vps/{vps_id}/health")).json()["last_report"]
    assert [
        (each["mount"], each.get("seconds_to_full"), each.get("seconds_to_no_inodes")) for each in told["disks"]
    ] == [
        ("/", 3600, None),
        ("/var", None, 60),
    ]
    assert told["postfix_queue"]["deferred_ages"] == [0, 1, 2, 0, 0]
    assert told["postfix_queue"]["deferred_providers"]["google"] == 3
    assert "hold_providers" not in told["postfix_queue"]


async def test_the_fleet_is_the_tenants_own_worst_first(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant
) -> None:
    servers = [await make_server(system_database, tenant) for _ in range(4)]
    for server, state in zip(servers, ("ok", "fail", "warn"), strict=False):
        await checked(system_database, server, state, {"queue": state})
    await checked(system_database, await make_server(system_database, other_tenant), "fail")

    body = (await rest_client.get("fleet/health")).json()

    assert body["totals"] == {"fail": 1, "warn": 1, "unknown": 1, "ok": 1}
    expected = [servers[1], servers[2], servers[3], servers[0]]
    assert [each["vps_id"] for each in body["items"]] == list(map(str, expected))
    assert [check["kind"] for check in body["items"][0]["wrong"]] == ["queue"]
    assert await walked(rest_client, "fleet/health") == body["items"]
    only = (await rest_client.get("fleet/health", params={"check": "queue", "state": "warn"})).json()
    assert [each["vps_id"] for each in only["items"]] == [str(servers[2])]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("deferred_ratio > 0.2", {"a"}),
        ("deferred_ratio > 0.2 and provider = 'google'", {"b"}),
        ("not deferred_ratio > 0.2", {"b"}),
        ("provider = 'yahoo'", set()),
        ("load_1m >= 2 or cloud = 'local' and load_1m < 0", {"b"}),
        ("hostname = 'x'' or true'", None),
    ],
)
async def test_the_fleet_is_asked_by_expressions(
    system_database: Database, tenant: SomeTenant, where: str, found: set[str] | None
) -> None:
    a = await checked(system_database, await make_server(system_database, tenant), deferred_ratio=0.5, load_1m=1)
    tried = {"google": {"deferred_ratio": 0.9}, "other": {"deferred_ratio": 0.0}}
    b = await checked(
        system_database, await make_server(system_database, tenant), deferred_ratio=0.1, load_1m=2, destinations=tried
    )
    await make_server(system_database, tenant)
    async with system_database.system() as session:
        if found is None:
            with pytest.raises(Exception, match="character"):
                await fleet_health(session, Wanted(where=where))
            return
        fleet = await fleet_health(session, Wanted(where=where))
    assert {{a: "a", b: "b"}[server.vps_id] for server in fleet.servers} == found


async def test_a_question_of_no_sense_is_refused(rest_client: httpx.AsyncClient) -> None:
    answer = await rest_client.get("fleet/health", params={"where": "load_1m > "})
    assert answer.status_code == 422
    assert "a number" in answer.text
