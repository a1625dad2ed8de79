import uuid

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from control_plane.inboxes.create import imap_config, smtp_config
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server
from tests.integration.rest import pointers, problem

_KEPT = text(
    "SELECT i.password_hash, v.desired_version FROM inboxes i JOIN vps_servers v ON v.id = i.vps_id WHERE i.id = :id"
)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def kept(database: Database, inbox: SomeInbox) -> tuple[str, int]:
    """Return the hash that is kept, without its scheme, and the version that the server should be at."""
    async with database.system() as session:
        hashed, version = (await session.execute(_KEPT, {"id": inbox.id})).one()
    return hashed.removeprefix("{ARGON2ID}"), version


async def test_a_password_is_changed_shown_once_and_applied(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    _, before = await kept(system_database, inbox)
    headers = {"Idempotency-Key": "once"}
    answer = await rest_client.post(f"inboxes/{inbox.id}/password:rotate", headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    hashed, version = await kept(system_database, inbox)
    assert PasswordHasher().verify(hashed, answer.json()["password"])
    assert version == before + 1
    again = await rest_client.post(f"inboxes/{inbox.id}/password:rotate", headers=headers)
    problem(again, 409, "answer-shown-once")
    assert await kept(system_database, inbox) == (hashed, version)


async def test_a_password_is_set(rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox) -> None:
    answer = await rest_client.put(f"inboxes/{inbox.id}/password", json={"password": "herring at 7 fathoms"})
    assert (answer.status_code, answer.content) == (204, b"")
    hashed, _ = await kept(system_database, inbox)
    assert PasswordHasher().verify(hashed, "herring at 7 fathoms")


@pytest.mark.parametrize("password", ["short", "x" * 201, " leading space", "tab\tin between", "nul\0in between", None])
async def test_a_password_that_is_none_is_refused_and_not_repeated(
    rest_client: httpx.AsyncClient, inbox: SomeInbox, password: str | None
) -> None:
    answer = await rest_client.put(f"inboxes/{inbox.id}/password", json={"password": password})
    assert pointers(problem(answer, 422, "invalid-input")) == ["/password"]
    assert password is None or password not in answer.text


async def test_the_password_of_an_inbox_that_goes_stays(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, inbox: SomeInbox
) -> None:
    going = await make_inbox(system_database, tenant, inbox.vps_id, status="deleting")
    problem(await rest_client.post(f"inboxes/{going.id}/password:rotate"), 409, "conflict")


async def test_the_settings_of_mail_programs_are_shown(
    rest_client: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    path = f"inboxes/{inbox.id}/client-settings"
    problem(await rest_client.get(path), 409, "conflict")
    async with system_database.system() as session:
        configs = {"smtp": smtp_config("mx.penguin.example", "a"), "imap": imap_config("mx.penguin.example", "a")}
        await session.execute(
            text("UPDATE inboxes SET smtp_config = CAST(:smtp AS jsonb), imap_config = CAST(:imap AS jsonb)"),
            {name: str(config).replace("'", '"') for name, config in configs.items()},
        )
    shown = (await rest_client.get(path)).json()
    host = {"host": "mx.penguin.example"}
    assert shown["username"].startswith("sales@")
    assert shown["imap"] == {**host, "port": 993, "security": "tls"}
    assert shown["smtp"] == [{**host, "port": 465, "security": "tls"}, {**host, "port": 587, "security": "starttls"}]


async def test_anothers_inbox_is_not_there(other_client: httpx.AsyncClient, inbox: SomeInbox) -> None:
    path = f"inboxes/{inbox.id}"
    for answer in (
        await other_client.post(f"{path}/password:rotate"),
        await other_client.put(f"{path}/password", json={"password": "herring at 7 fathoms"}),
        await other_client.get(f"{path}/client-settings"),
        await other_client.post(f"inboxes/{uuid.uuid4()}/password:rotate"),
    ):
        problem(answer, 404, "not-found")
