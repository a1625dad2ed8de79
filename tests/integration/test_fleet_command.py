"""`penguin fleet`: by questions, one server, and again and again."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import fleet_health
from control_plane.cli.main import app
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.test_rest_health import checked

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

    monkeypatch.setattr(fleet_health, "system_session", session)

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


def test_one_server_is_shown_with_its_checks_and_what_changed(command: Command, vps_id: uuid.UUID) -> None:
    queue, disk, changed = command("show", vps_id).splitlines()
    assert queue.split()[:3] == ["fail", "queue", "Because."]
    assert disk.split()[:2] == ["ok", "disk"]
    assert changed.startswith("before it got worse: ")
    assert [check["kind"] for check in json.loads(command("show", vps_id, "--json"))["checks"]] == ["queue", "disk"]


def test_the_worst_can_be_watched(command: Command, vps_id: uuid.UUID) -> None:
    assert "1 fail" in command("top", "--rounds", 1)
    assert vps_id
