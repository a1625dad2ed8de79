import base64
import datetime as dt
import uuid

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.identity.api_keys import create_api_key
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import client_of, problem

HELLO = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}


def servers_of(tenant: SomeTenant) -> str:
    return f"workspaces/{tenant.workspace_id}/vps"


async def execute(database: Database, statement: str, **parameters: object) -> None:
    async with database.system() as session:
        await session.execute(text(statement), parameters)


async def last_used(database: Database) -> dt.datetime | None:
    async with database.system() as session:
        moment: dt.datetime | None = await session.scalar(text("SELECT last_used_at FROM api_keys"))
        return moment


async def test_a_key_opens_its_tenants_data(rest_client: httpx.AsyncClient, tenant: SomeTenant) -> None:
    assert (await rest_client.get(servers_of(tenant))).json() == {"items": [], "next": None}


async def test_without_a_key_nothing_is_shown(rest_app: FastAPI, tenant: SomeTenant) -> None:
    async with client_of(rest_app, None) as client:
        answer = await client.get(servers_of(tenant))
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def forged(key: str) -> list[str]:
    mark, owner, prefix, secret = key.split("_")
    nobody = base64.b32encode(uuid.uuid4().bytes).decode().rstrip("=").lower()
    return [
        f"{mark}_{owner}_{prefix}_{secret[:-1]}",
        f"{mark}_{owner}_{prefix}_",
        f"{mark}_{owner}_aaaaaaaa_{secret}",
        f"{mark}_{nobody}_{prefix}_{secret}",
        f"{mark}_{owner[:-2]}_{prefix}_{secret}",
        f"{mark}_{owner}ü_{prefix}_{secret}",
        f"{mark}_{owner}!_{prefix}_{secret}",
        f"other_{owner}_{prefix}_{secret}",
        f"{mark}_{owner}_{secret}",
        "pmk",
        "'; DROP TABLE api_keys; --",
    ]


async def test_a_key_that_is_not_true_is_refused(rest_app: FastAPI, tenant: SomeTenant) -> None:
    async with client_of(rest_app, None) as client:
        for key in forged(tenant.api_key):
            headers = [(b"Authorization", f"Bearer {key}".encode())]
            problem(await client.get(servers_of(tenant), headers=headers), 401, "unauthenticated")


async def test_another_scheme_than_bearer_is_refused(rest_app: FastAPI, tenant: SomeTenant) -> None:
    async with client_of(rest_app, None) as client:
        answer = await client.get(servers_of(tenant), auth=("user", tenant.api_key))
    problem(answer, 401, "unauthenticated")


async def test_a_revoked_key_is_refused_at_once(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    assert (await rest_client.get(servers_of(tenant))).status_code == 200
    await execute(system_database, "UPDATE api_keys SET revoked_at = now()")
    problem(await rest_client.get(servers_of(tenant)), 401, "unauthenticated")


async def test_an_expired_key_is_refused(rest_app: FastAPI, system_database: Database, tenant: SomeTenant) -> None:
    moment = dt.datetime.now(dt.UTC)
    async with system_database.system() as session:
        past = await create_api_key(session, tenant.id, "past", moment - dt.timedelta(seconds=1))
        future = await create_api_key(session, tenant.id, "future", moment + dt.timedelta(hours=1))
    async with client_of(rest_app, past) as client:
        problem(await client.get(servers_of(tenant)), 401, "unauthenticated")
    async with client_of(rest_app, future) as client:
        assert (await client.get(servers_of(tenant))).status_code == 200


async def test_the_use_of_a_key_is_noted_once_a_minute(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    assert await last_used(system_database) is None
    await rest_client.get(servers_of(tenant))
    first = await last_used(system_database)
    assert first is not None
    await rest_client.get(servers_of(tenant))
    assert await last_used(system_database) == first
    await execute(system_database, "UPDATE api_keys SET last_used_at = now() - interval '61 seconds'")
    await rest_client.get(servers_of(tenant))
    latest = await last_used(system_database)
    assert latest is not None
    assert latest > first


async def test_a_request_does_not_wait_for_another_that_notes_the_same_key(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    async with system_database.system() as session:
        await session.execute(text("SELECT FROM api_keys FOR NO KEY UPDATE"))
        assert (await rest_client.get(servers_of(tenant))).status_code == 200


async def test_a_suspended_tenant_may_look_and_not_send(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    await execute(system_database, "UPDATE tenants SET state = 'suspended'")
    assert (await rest_client.get(f"inboxes/{inbox.id}")).status_code == 200
    problem(await rest_client.post(f"inboxes/{inbox.id}/messages", json=HELLO), 403, "forbidden")
    problem(await rest_client.post(servers_of(tenant), json={"provider": "local", "size": "small"}), 403, "forbidden")


@pytest.mark.parametrize("resource", ["vps", "inboxes"])
async def test_the_workspace_of_another_tenant_is_not_there(
    other_client: httpx.AsyncClient, tenant: SomeTenant, resource: str
) -> None:
    problem(await other_client.get(f"workspaces/{tenant.workspace_id}/{resource}"), 404, "not-found")
