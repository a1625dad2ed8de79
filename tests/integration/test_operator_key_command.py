import asyncio
import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import operator_keys
from control_plane.cli.actor import this_user
from control_plane.cli.main import app
from control_plane.errors import InvalidInput
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import FreshDatabase
from tests.integration.operators.door import operator_client
from tests.integration.rest import problem

Command = Callable[..., Any]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> Command:
    """Runs `penguin operator-key ...` on the test's database and returns what it did."""

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        async with opened.system() as transaction:
            yield transaction
        await opened.close()

    monkeypatch.setattr(operator_keys, "system_session", session)
    return lambda *words: CliRunner().invoke(app, ["operator-key", *map(str, words)])


@pytest.fixture
async def operators_app(rest_settings: Settings) -> AsyncIterator[FastAPI]:
    made = make_operators_app(rest_settings)
    async with made.router.lifespan_context(made):
        yield made


async def test_a_key_that_is_made_opens_what_was_asked_for_until_it_is_revoked(
    command: Command, operators_app: FastAPI
) -> None:
    options = ("--scope", "queue:read", "--scope", "acts:read", "--expires-days", "30", "--json")
    made = json.loads((await asyncio.to_thread(command, "create", "on call", *options)).stdout)
    assert made["scopes"] == ["acts:read", "queue:read"]
    ends = dt.datetime.fromisoformat(made["expires_at"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=29) < ends <= dt.timedelta(days=30)
    async with operator_client(operators_app, made["operator_key"]) as client:
        assert (await client.get("queue")).status_code == 200
        problem(await client.get("fleet"), 403, "forbidden")
        [act] = (await client.get("acts")).json()["items"]
        assert (act["act"], act["door"], act["actor"]) == ("operator-key.create", "cli", this_user().name)
        assert (await asyncio.to_thread(command, "revoke", made["id"], "--reason", "she left")).exit_code == 0
        problem(await client.get("queue"), 401, "unauthenticated")


def test_a_key_may_look_and_not_touch_unless_more_is_asked_for(command: Command) -> None:
    made = json.loads(command("create", "dashboard", "--json").stdout)
    assert made["scopes"] == ["acts:read", "alerts:read", "fleet:read", "queue:read", "tenants:read"]
    assert made["expires_at"] is None


def test_the_key_alone_is_printed_for_a_shell_to_take_up(command: Command) -> None:
    result = command("create", "on call")
    [key] = result.stdout.split()
    assert key.startswith("pmo_")
    assert "cannot be shown again" in result.stderr


def test_keys_are_listed_without_their_secrets(command: Command) -> None:
    assert command("list").stdout == "There are no operators' keys yet.\n"
    made = json.loads(command("create", "on call", "--json").stdout)
    command("revoke", made["id"])
    [listed] = json.loads(command("list", "--json").stdout)
    assert (listed["id"], listed["name"]) == (made["id"], "on call")
    assert listed["revoked_at"] is not None
    prefix, secret = made["operator_key"].split("_")[1:]
    table = command("list").stdout
    assert listed["prefix"] == prefix
    assert prefix in table
    assert secret not in f"{listed}{table}"


@pytest.mark.parametrize("words", [("create", "x", "--scope", "queue:all"), ("create", " "), ("create", "x\ny")])
def test_what_makes_no_sense_is_refused(command: Command, words: tuple[str, ...]) -> None:
    assert isinstance(command(*words).exception, InvalidInput)
    assert json.loads(command("list", "--json").stdout) == []


def test_a_key_that_is_not_there_cannot_be_revoked(command: Command) -> None:
    assert "There is no operator's key" in str(command("revoke", uuid.uuid4()).exception)
