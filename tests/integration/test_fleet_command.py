"""`penguin fleet`: by questions, one server, and again and again."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import fleet_health, fleet_server, healing
from control_plane.cli.main import app
from control_plane.monitoring.samples import STEP, floor
from db.session import Database
from protos.agent.v1.telemetry_pb2 import HealthReport, Logins, OfferedPackage, PackageUpdates, PostfixQueue
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.test_rest_health import NOW, checked, sampled

Command = Callable[..., str]


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    vps_id = await make_server(system_database, tenant)
    return await checked(system_database, vps_id, "fail", {"disk": "ok", "queue": "fail"}, deferred_ratio=0.9)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> Command:
    """Runs `penguin fleet ...` on the test's database and returns what it printed."""

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        async with opened.system() as transaction:
            yield transaction
        await opened.close()

    for module in (fleet_health, fleet_server, healing):
        monkeypatch.setattr(module, "system_session", session)

    def run(*words: object) -> str:
        result = CliRunner().invoke(app, ["fleet", *map(str, words)])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_fleet_can_be_asked(command: Command, vps_id: uuid.UUID) -> None:
    totals, heading, line = command("--where", "deferred_ratio > 0.2").splitlines()
    assert totals == "1 fail, 0 warn, 0 unknown, 0 ok"
    assert heading.split()[:3] == ["server", "state", "load"]
    assert line.split()[1:6] == ["fail", "-", "-", "-", "90%"]
    assert "Because." in line
    [server] = json.loads(command("--where", "deferred_ratio > 0.2", "--json"))["servers"]
    assert server["vps_id"] == str(vps_id)
    assert json.loads(command("--where", "deferred_ratio > 0.95", "--json"))["servers"] == []


def test_the_fleet_is_asked_by_what_tells_servers_apart(
    command: Command, vps_id: uuid.UUID, tenant: SomeTenant
) -> None:
    def found(*words: object) -> list[str]:
        return [server["vps_id"] for server in json.loads(command(*words, "--json"))["servers"]]

    of_it = {
        "--tenant": tenant.id,
        "--provider": "local",
        "--region": "here",
        "--state": "fail",
        "--check": "queue",
    }
    assert found(*(word for pair in of_it.items() for word in pair)) == [str(vps_id)]
    of_others = {
        **dict.fromkeys(("--provider", "--region", "--version"), "another"),
        "--state": "ok",
        "--check": "disk",
    }
    for option, value in {**of_others, "--tenant": uuid.uuid4()}.items():
        assert found(option, value) == [], option
    assert "0 fail" in command("top", "--rounds", 1, "--check", "disk")


@pytest.fixture
async def healed(system_database: Database, vps_id: uuid.UUID) -> uuid.UUID:
    """A server about which self-healing did something."""
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO healing_acts (id, tenant_id, vps_id, rule, act, reason, state, detail, began_at)"
                " SELECT gen_random_uuid(), tenant_id, id, 'wedged_queue', 'flush_queue', 'It stands still.', 'done',"
                " 'told Postfix to try all', '2026-11-22 12:00+00' FROM vps_servers"
            )
        )
    return vps_id


def test_one_server_is_shown_with_its_checks_what_changed_and_what_was_healed(
    command: Command, healed: uuid.UUID
) -> None:
    head, configuration, release, queue, disk, changed, act = command("show", healed).splitlines()
    assert head.endswith(": ready, not reachable, mail server not_configured")
    assert (configuration, release) == ("configuration 0 of 1", "release not known")
    assert queue.split()[:3] == ["fail", "queue", "Because."]
    assert disk.split()[:2] == ["ok", "disk"]
    assert changed.startswith("before it got worse: ")
    assert act.endswith("flush_queue by wedged_queue, done: It stands still. (told Postfix to try all)")
    shown = json.loads(command("show", healed, "--json"))
    assert [check["kind"] for check in shown["checks"]] == ["queue", "disk"]
    assert [(act["rule"], act["reason"]) for act in shown["healing"]] == [("wedged_queue", "It stands still.")]


@pytest.fixture
async def loaded(system_database: Database, vps_id: uuid.UUID) -> uuid.UUID:
    """A server whose load is known for a quarter of an hour."""
    for step, load in enumerate((0.5, 1.5, 4.0)):
        await sampled(system_database, vps_id, floor(NOW, STEP) - (6 - step) * STEP, load_1m=load)
    return vps_id


def test_a_metric_of_a_server_is_shown_over_time(command: Command, loaded: uuid.UUID) -> None:
    lines = command("show", loaded, "--metric", "load_1m").splitlines()
    assert [line.split()[-1] for line in lines[-3:]] == ["0.5", "1.5", "4"]
    series = json.loads(command("show", loaded, "--metric", "load_1m", "--hours", 2, "--json"))["series"]
    assert [point["value"] for point in series] == [0.5, 1.5, 4.0]
    assert json.loads(command("show", loaded, "--json"))["series"] == []


@pytest.fixture
async def outdated(system_database: Database, vps_id: uuid.UUID) -> uuid.UUID:
    """A server that tells which packages it is offered."""
    postfix = OfferedPackage(name="postfix", installed="3.7.10", offered="3.7.11", held=True)
    updates = PackageUpdates(waiting=7, security=2, mail=[postfix])
    queue = PostfixQueue(hold=1, hold_ages=[0, 0, 0, 0, 1])
    told = HealthReport(package_updates=updates, logins=Logins(succeeded=12, failed=3), postfix_queue=queue)
    async with system_database.system() as session:
        await session.execute(
            text(
                "INSERT INTO vps_reports (vps_id, tenant_id, reported_at, received_at, report)"
                " SELECT id, tenant_id, now(), now(), CAST(:report AS jsonb) FROM vps_servers"
            ),
            {"report": MessageToJson(told, preserving_proto_field_name=True)},
        )
    return vps_id


def test_what_a_server_is_offered_is_shown(command: Command, outdated: uuid.UUID) -> None:
    shown = command("show", outdated)
    assert "package updates 7, 2 for security" in shown
    assert "log-ins 12, failed 3, since" in shown
    assert "queue hold: over 1 day 1" in shown
    assert "postfix 3.7.10, offered 3.7.11, held" in shown
    [offered] = json.loads(command("show", outdated, "--json"))["last_report"]["package_updates"]["mail"]
    assert (offered["name"], offered["offered"]) == ("postfix", "3.7.11")


def test_healing_is_forbidden_by_rule_and_server_and_allowed_again(command: Command, vps_id: uuid.UUID) -> None:
    command("healing", "forbid", "listed", "--server", vps_id, "--reason", "it is not ours")
    command("healing", "forbid", "--reason", "a migration")
    listed = json.loads(command("healing", "list", "--json"))
    assert [(each["rule"], each["of_vps_id"]) for each in listed["forbidden"]] == [
        ("listed", str(vps_id)),
        (None, None),
    ]
    assert "mail_server_down" in {each["rule"] for each in listed["rules"]}
    assert "healing forbidden: all rules: a migration" in command("show", vps_id)
    command("healing", "allow")
    command("healing", "allow", "listed", "--server", vps_id)
    assert "Forbidden" not in command("healing", "list")
    assert "forbidden" not in command("show", vps_id)


def test_the_worst_can_be_watched(command: Command, vps_id: uuid.UUID) -> None:
    assert "1 fail" in command("top", "--rounds", 1)
    assert vps_id
