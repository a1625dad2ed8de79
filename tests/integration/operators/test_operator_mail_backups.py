"""Where tenants' mailboxes are backed up to, at the operators' door, and backups that are asked for there."""

import uuid
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from control_plane.fleet.mail_backups import mail_backup_of
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.commands_pb2 import BackUpMail, Command, ListMailBackups, RestoreMail
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox
from tests.integration.rest import problem

PLACE = "rest:https://fish:herring@backups.example/penguin"
NEW = {"repository": PLACE, "credentials": {"AWS_SECRET_ACCESS_KEY": "sardine"}, "reason": "they asked"}

pytestmark = pytest.mark.usefixtures("sealer")


def path_of(tenant: SomeTenant) -> str:
    return f"tenants/{tenant.id}/mail-backups"


@pytest.fixture
def sealer(rest_settings: Settings) -> Sealer:
    """The key, which is made when it is first needed, in the file that the door reads it from."""
    return Sealer.of_file(rest_settings.sealing_key_file)


async def test_a_place_is_set_shown_without_secrets_and_removed(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, tenant: SomeTenant, sealer: Sealer
) -> None:
    path = path_of(tenant)
    problem(await operator.get(path), 404, "not-found")
    answer = await operator.put(path, json=NEW)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    done = answer.json()
    async with system_database.system() as session:
        told = await mail_backup_of(session, sealer, inbox.vps_id)
    assert told is not None
    assert (told.repository, told.password, dict(told.credentials)) == (PLACE, done["password"], NEW["credentials"])
    shown = (await operator.get(path)).json()
    assert shown == {name: done[name] for name in ("repository", "credentials", "set_at")}
    assert (shown["repository"], shown["credentials"]) == (
        "rest:https://backups.example/penguin",
        ["AWS_SECRET_ACCESS_KEY"],
    )
    assert (await operator.delete(path)).status_code == 204
    for method in ("GET", "DELETE"):
        problem(await operator.request(method, path), 404, "not-found")
    acts = (await operator.get("acts")).json()["items"]
    told_of = [(each["act"], each["subject"], each["reason"]) for each in reversed(acts)]
    assert told_of[1:] == [
        ("tenant.mail-backups", {"tenant_id": str(tenant.id), "backed_up": "True"}, "they asked"),
        ("tenant.mail-backups", {"tenant_id": str(tenant.id), "backed_up": "False"}, None),
    ]


async def test_a_place_that_somebody_else_changed_is_changed_by_nobody_who_has_not_seen_that(
    operator: httpx.AsyncClient, tenant: SomeTenant
) -> None:
    path = path_of(tenant)
    await operator.put(path, json=NEW)
    answer = await operator.get(path)
    seen = {"If-Match": answer.headers["etag"]}
    assert (await operator.get(path, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    # The same place and names: what changed is a secret.
    assert (await operator.put(path, json={**NEW, "password": "herring-and-sardine"}, headers=seen)).is_success
    problem(await operator.put(path, json=NEW, headers=seen), 412, "precondition-failed")
    problem(await operator.delete(path, headers=seen), 412, "precondition-failed")
    now = {"If-Match": (await operator.get(path)).headers["etag"]}
    assert (await operator.delete(path, headers=now)).status_code == 204


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"repository": "sftp:user@host:/x"}, "/repository"),
        ({"repository": "/mnt/x", "password": "herring"}, "/password"),
        ({"repository": "/mnt/x", "password": "herring and sardine"}, "/password"),
        ({"repository": "/mnt/x", "credentials": {"LD_PRELOAD": "/herring.so"}}, "/credentials"),
        ({}, "/repository"),
    ],
)
async def test_what_no_server_would_take_is_refused_and_not_repeated(
    operator: httpx.AsyncClient, tenant: SomeTenant, wrong: dict[str, object], part: str
) -> None:
    body = problem(await operator.put(path_of(tenant), json=wrong), 422, "invalid-input")
    assert [each["pointer"] for each in body["errors"]] == [part]
    assert not any(secret in str(body) for secret in ("user@host", "herring"))


async def test_of_no_tenant_there_is_nothing_to_back_up(operator: httpx.AsyncClient) -> None:
    problem(await operator.put(f"tenants/{uuid.uuid4()}/mail-backups", json=NEW), 404, "not-found")


async def test_a_process_without_the_key_says_so(
    operator: httpx.AsyncClient, tenant: SomeTenant, rest_settings: Settings, tmp_path: Path
) -> None:
    rest_settings.sealing_key_file.rename(tmp_path / "elsewhere")
    problem(await operator.put(path_of(tenant), json=NEW), 503, "unavailable")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"kind": "back-up-mail"}, Command(back_up_mail=BackUpMail())),
        ({"kind": "list-mail-backups"}, Command(list_mail_backups=ListMailBackups())),
        (
            {"kind": "restore-mail", "inbox": "anna@acme.example", "snapshot": "7f3a2c91", "in_place": True},
            Command(restore_mail=RestoreMail(address="anna@acme.example", snapshot="7f3a2c91", in_place=True)),
        ),
    ],
)
async def test_backups_are_asked_for_by_commands_whose_acts_name_no_address(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox, asked: dict[str, object], told: Command
) -> None:
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET link_session = gen_random_uuid(), last_seen_at = now()"))
    answer = await operator.post(f"vps/{inbox.vps_id}/commands", json=asked)
    assert answer.status_code == 202, answer.text
    async with system_database.system() as session:
        command = Command.FromString(await session.scalar(text("SELECT command FROM server_commands")))
    command.request_id = ""
    assert command == told
    [act] = (await operator.get("acts")).json()["items"][:1]
    assert act["subject"]["kind"] == asked["kind"]
    assert "anna" not in str(act)
    missing = await operator.post(f"vps/{inbox.vps_id}/commands", json={"kind": "restore-mail"})
    assert problem(missing, 422, "invalid-input")["errors"][0]["pointer"] == "/inbox"
