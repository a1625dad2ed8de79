import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import queue
from control_plane.cli.actor import this_user
from control_plane.cli.main import app
from db.models import OperatorAct
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server

Command = Callable[..., Any]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> Command:
    """Runs `penguin queue ... --json` on the test's database and returns its exit code and what it printed."""

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        async with opened.system() as transaction:
            yield transaction
        await opened.close()

    monkeypatch.setattr(queue, "system_session", session)

    def run(*words: object, as_json: bool = True) -> tuple[int, Any]:
        arguments = ["queue", *map(str, words), *(["--json"] if as_json else [])]
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, json.loads(result.stdout) if as_json and result.stdout else result.stdout

    return run


@pytest.fixture
async def waiting(system_database: Database, tenant: SomeTenant) -> tuple[SomeInbox, list[uuid.UUID]]:
    """An inbox with two sends that have been due for an hour, the second of them a dead letter."""
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    ids = await make_sends(system_database, inbox, 2)
    async with system_database.system() as session:
        await session.execute(text("UPDATE messages SET send_at = now() - interval '1 hour'"))
        await session.execute(text("UPDATE messages SET state = 'dead' WHERE id = :id"), {"id": ids[1]})
    return inbox, ids


def test_the_queue_is_shown_with_depth_age_pauses_and_reasons(
    command: Command, waiting: tuple[SomeInbox, list[uuid.UUID]]
) -> None:
    inbox, _ = waiting
    assert command("pause", "vps", inbox.vps_id, "--reason", "a look") == (0, {"paused": str(inbox.vps_id)})

    code, shown = command("show")

    assert code == 0
    [depth] = shown["depth"]
    assert (depth["vps_id"], depth["tenant_id"]) == (str(inbox.vps_id), str(inbox.tenant.id))
    assert (depth["priority"], depth["waiting"], depth["leased"], depth["dead"]) == ("normal", 1, 0, 1)
    assert depth["oldest_due_seconds"] >= 3600
    [standing] = shown["standing"]
    assert standing["why"] == "the server is paused, the server is not linked"
    [paused] = shown["pauses"]
    assert (paused["subject"], paused["vps_id"], paused["reason"]) == ("vps", str(inbox.vps_id), "a look")
    _, table = command("show", as_json=False)
    assert "the server is paused" in table


def test_a_pause_is_taken_back(command: Command, tenant: SomeTenant) -> None:
    assert command("pause", "priority", "low", "--tenant", tenant.id)[0] == 0
    assert command("resume", "priority", "low", "--tenant", tenant.id) == (0, {"resumed": "low"})
    assert command("show") == (0, {"depth": [], "standing": [], "pauses": []})
    assert command("show", as_json=False) == (0, "The queue is empty.\n")


def test_dead_letters_are_listed_and_retried_or_dropped(
    command: Command, waiting: tuple[SomeInbox, list[uuid.UUID]]
) -> None:
    accepted, dead = map(str, waiting[1])
    assert [letter["id"] for letter in command("dead")[1]] == [dead]
    assert dead in command("dead", as_json=False)[1]
    assert command("drop", accepted) == (1, {"dropped": [], "left": [accepted]})
    assert command("retry", dead) == (0, {"retried": [dead], "left": []})
    assert command("dead", as_json=False) == (0, "There are no dead letters.\n")
    assert command("drop", dead, as_json=False)[0] == 1


async def test_what_is_done_is_recorded_with_who_and_why(
    command: Command, waiting: tuple[SomeInbox, list[uuid.UUID]], system_database: Database
) -> None:
    _, dead = waiting[1]
    for words in (("pause", "priority", "low"), ("resume", "priority", "low"), ("retry", dead)):
        await asyncio.to_thread(command, *words, "--reason", f"a {words[0]}")
    async with system_database.system() as session:
        acts = (await session.scalars(select(OperatorAct).order_by(OperatorAct.at))).all()
    assert [(act.act, act.reason) for act in acts] == [
        ("queue.pause", "a pause"),
        ("queue.resume", "a resume"),
        ("queue.retry", "a retry"),
    ]
    assert {(act.door, act.actor, act.key_id) for act in acts} == {("cli", this_user().name, None)}
    assert [act.subject for act in acts] == [
        {"subject": "priority", "priority": "low"},
        {"subject": "priority", "priority": "low"},
        {"message_id": str(dead)},
    ]
