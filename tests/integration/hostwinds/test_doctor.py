"""`penguin doctor hostwinds` and `provider forget-order`, as they are called."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import providers
from control_plane.cli.main import app
from control_plane.errors import NotFound
from db.session import Database
from tests.fakes.hostwinds.door import FakeHostwinds, running_hostwinds
from tests.integration.database import FreshDatabase

READING = {"get_instances", "get_price_list"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHostwinds]:
    with running_hostwinds() as running:
        monkeypatch.setenv("PENGUIN_HOSTWINDS_API_URL", running.url)
        monkeypatch.setenv("PENGUIN_HOSTWINDS_API_KEY", running.key)
        yield running


def findings(*options: str) -> tuple[int, str, dict[str, Any]]:
    ran = CliRunner().invoke(app, ["doctor", "hostwinds", "--json", *options])
    return ran.exit_code, ran.stdout, {each["what"]: each for each in json.loads(ran.stdout)["findings"]}


def test_what_works_is_said_by_calls_that_only_read_and_without_the_key(fake: FakeHostwinds) -> None:
    fake.account.add({"srvrname": "pm-1", "rid": "12", "template": "t", "location_id": "1"})
    status, printed, found = findings()
    assert status == 1
    assert found["get_instances"] == {
        "what": "get_instances",
        "works": True,
        "says": "1 servers, 1 of them named like ours",
    }
    assert "starter: Unmanaged 2 at 9.99 USD" in found["get_price_list"]["says"]
    assert not found["spending"]["works"]
    assert fake.key not in printed
    assert "never-to-be-shown" not in printed
    assert "documented, not verified live" in printed
    assert set(fake.seen) == READING


def test_a_key_that_is_bound_to_another_address_is_said(fake: FakeHostwinds) -> None:
    fake.allowed = set()
    _, _, found = findings()
    assert not found["get_instances"]["works"]
    assert "not allowed from this machine's IPv4 address" in found["get_instances"]["says"]


def test_all_is_well_with_all_settings(fake: FakeHostwinds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    given = {
        "TEMPLATE": "t",
        "LOCATIONS": '["1"]',
        "SPENDING": "true",
        "SSH_KEY": "k",
        "SSH_KEY_FILE": tmp_path / "key",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"PENGUIN_HOSTWINDS_{name}", str(value))
    assert findings()[0] == 0
    listed = json.loads(CliRunner().invoke(app, ["provider", "list", "--json"]).stdout)
    (hostwinds,) = [each for each in listed if each["provider"] == "hostwinds"]
    assert hostwinds["note"] == "documented, not verified live; charges at once"
    assert set(fake.seen) == READING


async def test_an_order_that_is_not_there_cannot_be_forgotten(
    database: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        async with opened.system() as transaction:
            yield transaction
        await opened.close()

    monkeypatch.setattr(providers, "system_session", session)
    ran = await asyncio.to_thread(CliRunner().invoke, app, ["provider", "forget-order", "hostwinds", "pm-1"])
    assert isinstance(ran.exception, NotFound)
