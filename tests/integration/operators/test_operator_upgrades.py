"""Releases and plans at the operators' door, and by the command line."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.cli import releases as releases_command
from control_plane.cli import ring_plans
from control_plane.cli.main import app
from control_plane.operators import upgrades
from control_plane.rest.story_ids import VPS
from control_plane.upgrades.configuration_plans import ConfigurationWish
from db.session import Database
from mailstack.tunables import ALLOWED
from tests.integration.database import FreshDatabase
from tests.integration.mail_rows import SomeInbox
from tests.integration.operators.door import TESTER
from tests.integration.rest import problem
from tests.integration.test_upgrades import make_wheelhouse

Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> Command:
    """Runs `penguin ...` on the test's database and returns what it printed."""

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        try:
            async with opened.system() as transaction:
                yield transaction
        finally:
            await opened.close()

    for module in (releases_command, ring_plans):
        monkeypatch.setattr(module, "system_session", session)

    def run(*words: object) -> str:
        result = CliRunner().invoke(app, [*map(str, words)])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def release(command: Command, tmp_path: Path) -> str:
    folders = ("--from", make_wheelhouse(tmp_path / "wheelhouse"), "--into", tmp_path / "releases")
    added = json.loads(command("release", "add", *folders, "--sealing-key", tmp_path / "key", "--json"))
    assert (tmp_path / "releases" / added["name"] / "manifest.json").is_file()
    return str(added["name"])


async def test_a_plan_is_made_begun_and_taken_back(operator: httpx.AsyncClient, inbox: SomeInbox, release: str) -> None:
    [offered] = (await operator.get("releases")).json()["items"]
    assert (offered["name"], offered["version"], offered["state"]) == (release, "2", "offered")

    made = await operator.post(
        "fleet/upgrades", json={"release": "2", "canaries": [str(inbox.vps_id)], "reason": "new"}
    )
    assert made.status_code == 201
    plan = made.json()
    assert (plan["release"], plan["state"], plan["rings"], plan["requested_by"]) == (release, "planned", 1, "on call")
    begun = await operator.post(f"fleet/upgrades/{plan['id']}:apply", json={"reason": "now"})
    assert begun.json()["state"] == "running"
    problem(await operator.post(f"fleet/upgrades/{plan['id']}:apply"), 409, "conflict")
    aborted = await operator.post(f"fleet/upgrades/{plan['id']}:abort")
    assert (aborted.json()["state"], aborted.json()["reason"]) == ("rolling_back", "aborted by on call")

    whole = (await operator.get(f"fleet/upgrades/{plan['id']}")).json()
    assert [(each["vps_id"], each["ring"], each["state"]) for each in whole["servers"]] == [
        (str(inbox.vps_id), 0, "waiting")
    ]
    assert [each["id"] for each in (await operator.get("fleet/upgrades")).json()["items"]] == [plan["id"]]
    acts = [(act["act"], act["reason"]) for act in (await operator.get("acts")).json()["items"]]
    assert acts[:3] == [("upgrade.abort", None), ("upgrade.apply", "now"), ("upgrade.plan", "new")]


async def test_a_plan_for_settings_of_the_fleet_is_among_them_and_is_taken_back_alike(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    async with system_database.system() as session:
        wish = ConfigurationWish({"smtp_connect_timeout": "20"}, [inbox.vps_id])
        plan = await upgrades.make_configuration_plan(session, TESTER, wish, "slow networks")
        number = plan.configuration
    [shown] = (await operator.get("fleet/upgrades")).json()["items"]
    assert (shown["release"], shown["configuration"], shown["state"]) == (None, number, "planned")
    assert (await operator.post(f"fleet/upgrades/{shown['id']}:apply")).json()["state"] == "running"
    assert (await operator.post(f"fleet/upgrades/{shown['id']}:abort")).json()["state"] == "rolling_back"
    planned = (await operator.get("acts")).json()["items"][2]
    assert (planned["act"], planned["reason"]) == ("upgrade.plan", "slow networks")
    assert planned["subject"] == {"upgrade_id": shown["id"], "configuration": str(number)}


async def test_settings_are_listed_planned_with_what_they_change_and_applied_as_an_upgrade_is(
    operator: httpx.AsyncClient, inbox: SomeInbox
) -> None:
    listed = {each["name"]: each for each in (await operator.get("fleet/settings")).json()["items"]}
    assert set(listed) == set(ALLOWED)
    assert listed["smtp_connect_timeout"] == {
        "name": "smtp_connect_timeout",
        "set": None,
        "shipped": "30",
        "may_be": "a whole number from 5 to 120",
    }
    wish = {"settings": {"smtp_connect_timeout": "20"}, "canaries": [str(inbox.vps_id)], "minimum_sends": 7}
    made = await operator.post("fleet/settings:plan", json={**wish, "soak_seconds": 60, "reason": "slow networks"})
    assert made.status_code == 201, made.text
    plan = made.json()
    assert made.headers["location"] == f"/operator/v1/fleet/upgrades/{plan['id']}"
    assert (plan["state"], plan["minimum_sends"], plan["soak_seconds"]) == ("planned", 7, 60.0)
    [changed] = (await operator.get(f"fleet/upgrades/{plan['id']}/differences")).json()["items"]
    assert len(changed["servers"]) == 1
    assert "+smtp_connect_timeout = 20" in changed["diff"].splitlines()
    begun = await operator.post(f"fleet/upgrades/{plan['id']}:apply")
    assert (begun.json()["state"], begun.json()["configuration"]) == ("running", plan["configuration"])
    planned = (await operator.get("acts")).json()["items"][1]
    assert (planned["act"], planned["reason"]) == ("upgrade.plan", "slow networks")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"smtp_connect_timeout": "1"},
        {"maximal_queue_lifetime": "1"},
        {"smtp_connect_timeout": None},
        {"smtp connect": "1"},
    ],
    ids=["none", "out of bounds", "not on the list", "so already", "no name"],
)
async def test_settings_that_may_not_be_are_not_planned(
    operator: httpx.AsyncClient, inbox: SomeInbox, settings: dict[str, str | None]
) -> None:
    body = problem(await operator.post("fleet/settings:plan", json={"settings": settings}), 422, "invalid-input")
    assert [each["pointer"].split("/")[1] for each in body["errors"]] == ["settings"]
    assert (await operator.get("fleet/upgrades")).json()["items"] == []


@pytest.mark.parametrize("word", ["minimum_sends", "soak_seconds"])
async def test_numbers_of_a_plan_for_settings_are_numbers(
    operator: httpx.AsyncClient, inbox: SomeInbox, word: str
) -> None:
    wish = {"settings": {"smtp_connect_timeout": "20"}, word: "7"}
    body = problem(await operator.post("fleet/settings:plan", json=wish), 422, "invalid-input")
    assert [each["pointer"] for each in body["errors"]] == [f"/{word}"]


async def test_a_plan_for_a_release_changes_no_files_that_are_known_here(
    operator: httpx.AsyncClient, inbox: SomeInbox, release: str
) -> None:
    plan = (await operator.post("fleet/upgrades", json={"release": release})).json()
    problem(await operator.get(f"fleet/upgrades/{plan['id']}/differences"), 409, "conflict")


async def test_what_there_is_not_is_said_so(operator: httpx.AsyncClient, inbox: SomeInbox) -> None:
    nobody = "01934d3a-7f10-7a2b-8c3d-4e5f60718293"
    problem(await operator.post("fleet/upgrades", json={"release": "9"}), 404, "not-found")
    problem(await operator.get(f"fleet/upgrades/{nobody}"), 404, "not-found")
    problem(await operator.get(f"fleet/upgrades/{nobody}/differences"), 404, "not-found")
    problem(await operator.post(f"fleet/upgrades/{nobody}:apply"), 404, "not-found")
    problem(await operator.post("fleet/upgrades", json={"release": "9", "soak_seconds": -1}), 422, "invalid-input")


def test_the_command_line_does_the_same(command: Command, inbox: SomeInbox, release: str) -> None:
    assert [each["name"] for each in json.loads(command("release", "list", "--json"))] == [release]
    upgrade = ("fleet", "upgrade")
    plan = json.loads(command(*upgrade, "--plan", "2", "--canary", inbox.vps_id, "--soak", "5", "--json"))
    assert (plan["release"], plan["state"]) == (release, "planned")
    assert json.loads(command(*upgrade, "--apply", plan["id"], "--json"))["state"] == "running"
    shown = json.loads(command(*upgrade, "--status", plan["id"], "--json"))
    assert [each["vps_id"] for each in shown["servers"]] == [str(inbox.vps_id)]
    assert str(inbox.vps_id) in command(*upgrade, "--status", plan["id"])
    assert json.loads(command(*upgrade, "--abort", plan["id"], "--json"))["state"] == "rolling_back"
    assert [each["id"] for each in json.loads(command(*upgrade, "--json"))] == [plan["id"]]


async def test_a_plan_for_packages_is_made_and_begun_as_that_of_an_upgrade(
    operator: httpx.AsyncClient, inbox: SomeInbox
) -> None:
    packages = {"postfix": ["3.7.12", "3.10.5"], "opendkim": ["2"]}
    wish = {"packages": packages, "canaries": [str(inbox.vps_id)], "minimum_sends": 7, "patience_seconds": 60}
    made = await operator.post("fleet/packages:plan", json={**wish, "reason": "a hole in Postfix"})
    assert made.status_code == 201, made.text
    plan = made.json()
    assert made.headers["location"] == f"/operator/v1/fleet/upgrades/{plan['id']}"
    assert (plan["packages"], plan["minimum_sends"], plan["patience_seconds"]) == (packages, 7, 60.0)
    assert (plan["release"], plan["configuration"], plan["state"]) == (None, None, "planned")
    assert (await operator.get("fleet/upgrades")).json()["items"] == [plan]
    assert (await operator.post(f"fleet/upgrades/{plan['id']}:apply")).json()["state"] == "running"
    planned = (await operator.get("acts")).json()["items"][1]
    assert (planned["act"], planned["reason"]) == ("upgrade.plan", "a hole in Postfix")
    assert planned["subject"] == {"upgrade_id": plan["id"], "packages": "postfix, opendkim"}


@pytest.mark.parametrize(
    "packages",
    [{}, {"bash": ["5.2"]}, {"postfix": []}, {"postfix": ["-o"]}, {"postfix": ["3.7 or so"]}],
    ids=["none", "no mail package", "no version", "an option", "words"],
)
async def test_packages_that_may_not_change_are_not_planned(
    operator: httpx.AsyncClient, inbox: SomeInbox, packages: dict[str, list[str]]
) -> None:
    body = problem(await operator.post("fleet/packages:plan", json={"packages": packages}), 422, "invalid-input")
    assert [each["pointer"].split("/")[1] for each in body["errors"]] == ["packages"]
    assert (await operator.get("fleet/upgrades")).json()["items"] == []


def test_the_command_line_plans_packages(command: Command, inbox: SomeInbox) -> None:
    packages = ("fleet", "packages")
    words = [word for each in ("postfix=3.7.12", "postfix=3.10.5", "opendkim=2") for word in ("--plan", each)]
    plan = json.loads(command(*packages, *words, "--canary", inbox.vps_id, "--patience", "60", "--json"))
    assert (plan["release"], plan["state"]) == (None, "planned")
    assert plan["packages"] == {"postfix": ["3.7.12", "3.10.5"], "opendkim": ["2"]}
    assert json.loads(command(*packages, "--apply", plan["id"], "--json"))["state"] == "running"
    assert str(inbox.vps_id) in command(*packages, "--status", plan["id"])
    assert json.loads(command(*packages, "--abort", plan["id"], "--json"))["state"] == "rolling_back"
    assert [each["id"] for each in json.loads(command(*packages, "--json"))] == [plan["id"]]


@pytest.mark.parametrize(
    "words", [("--plan", "postfix"), ("--plan", "bash=5"), ("--plan", "postfix=1", "--apply", VPS)]
)
def test_words_that_are_no_plan_are_refused(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["fleet", "packages", *words])
    assert result.exit_code != 0
