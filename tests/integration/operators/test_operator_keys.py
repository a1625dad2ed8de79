"""Who comes in at the operators' door, and who does not."""

import datetime as dt
import logging
from pathlib import Path

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from control_plane.errors import NotFound
from control_plane.operators.keys import revoke_operator_key
from control_plane.operators.scopes import OperatorScope
from control_plane.operators.server_commands import TERMS
from db.migrations import versions
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.operators.door import TESTER, make_key, operator_client
from tests.integration.rest import client_of, problem


async def test_without_a_key_nothing_is_shown(operators_app: FastAPI) -> None:
    async with operator_client(operators_app, None) as client:
        answer = await client.get("queue")
    assert "pmo_" in problem(answer, 401, "unauthenticated")["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_tenants_key_is_told_to_be_one_and_refused(operators_app: FastAPI, tenant: SomeTenant) -> None:
    async with operator_client(operators_app, tenant.api_key) as client:
        body = problem(await client.get("queue"), 401, "unauthenticated")
    assert body["detail"] == "This is a tenant's API key; the operators' API takes an operator's, pmo_…."


async def test_an_operators_key_opens_nothing_at_the_tenants_door(
    rest_app: FastAPI, system_database: Database, tenant: SomeTenant
) -> None:
    made = await make_key(system_database, "on call", OperatorScope)
    async with client_of(rest_app, made.key) as client:
        problem(await client.get("queue"), 401, "unauthenticated")
        problem(await client.get(f"workspaces/{tenant.workspace_id}/vps"), 401, "unauthenticated")


async def test_a_key_that_is_not_true_is_refused(operators_app: FastAPI, system_database: Database) -> None:
    made = await make_key(system_database, "on call", OperatorScope)
    mark, prefix, secret = made.key.split("_")
    forged = [
        f"{mark}_{prefix}_{secret[:-1]}",
        f"{mark}_{prefix}_",
        f"{mark}_aaaaaaaa_{secret}",
        f"{mark}_{prefix}",
        f"other_{prefix}_{secret}",
        f"{mark}_{prefix}ü_{secret}",
        f"{mark}__{secret}",
        "pmo",
        "'; DROP TABLE platform_keys; --",
    ]
    async with operator_client(operators_app, None) as client:
        for key in forged:
            headers = [(b"Authorization", f"Bearer {key}".encode())]
            problem(await client.get("queue", headers=headers), 401, "unauthenticated")


async def test_a_key_opens_what_its_scopes_name_and_a_refusal_says_which_is_missing(
    operators_app: FastAPI, system_database: Database
) -> None:
    made = await make_key(system_database, "dashboard", [OperatorScope.READ_QUEUE])
    async with operator_client(operators_app, made.key) as client:
        assert (await client.get("queue")).status_code == 200
        refused = await client.post("queue/pauses", json={"subject": "priority", "of": "low"})
        body = problem(refused, 403, "forbidden")
        assert body["detail"] == "This needs a key with the scope queue:write; the key that was sent opens queue:read."
        problem(await client.get("fleet"), 403, "forbidden")
        assert (await client.get("queue/pauses")).json() == {"items": [], "next": None}


async def test_a_key_that_opened_all_commands_before_they_had_scopes_keeps_them(owner_url: str) -> None:
    [widening] = Path(versions.__file__).parent.glob("*_scopes_of_commands.sql")
    with psycopg.connect(owner_url) as owner:
        for name, scopes in (("runs the fleet", ["fleet:read", "fleet:write"]), ("looks", ["fleet:read"])):
            owner.execute(
                "INSERT INTO platform_keys (name, prefix, secret_sha256, scopes) VALUES (%s, %s, sha256('x'), %s)",
                (name, name, scopes),
            )
        owner.execute(widening.read_bytes())
        kept: dict[str, list[str]] = dict(owner.execute("SELECT name, scopes FROM platform_keys").fetchall())
    of_commands = {terms.scope.value for terms in TERMS.values()}
    assert kept == {"runs the fleet": sorted(of_commands | {"fleet:read", "fleet:write"}), "looks": ["fleet:read"]}


async def test_a_revoked_key_is_refused_at_once(operators_app: FastAPI, system_database: Database) -> None:
    made = await make_key(system_database, "on call", OperatorScope)
    async with operator_client(operators_app, made.key) as client:
        assert (await client.get("queue")).status_code == 200
        async with system_database.system() as session:
            await revoke_operator_key(session, TESTER, made.id)
        body = problem(await client.get("queue"), 401, "unauthenticated")
    assert body["detail"] == "The operator's key has been revoked."
    with pytest.raises(NotFound):
        async with system_database.system() as session:
            await revoke_operator_key(session, TESTER, made.id)


async def test_an_expired_key_is_refused(operators_app: FastAPI, system_database: Database) -> None:
    now = dt.datetime.now(dt.UTC)
    past = await make_key(system_database, "past", OperatorScope, now - dt.timedelta(seconds=1))
    future = await make_key(system_database, "future", OperatorScope, now + dt.timedelta(hours=1))
    async with operator_client(operators_app, past.key) as client:
        body = problem(await client.get("queue"), 401, "unauthenticated")
        assert body["detail"] == "The operator's key has expired."
    async with operator_client(operators_app, future.key) as client:
        assert (await client.get("queue")).status_code == 200


async def test_the_use_of_a_key_is_noted_once_a_minute(operator: httpx.AsyncClient, system_database: Database) -> None:
    async def last_used() -> dt.datetime | None:
        async with system_database.system() as session:
            moment: dt.datetime | None = await session.scalar(text("SELECT last_used_at FROM platform_keys"))
            return moment

    assert await last_used() is None
    await operator.get("fleet")
    first = await last_used()
    assert first is not None
    await operator.get("fleet")
    assert await last_used() == first


async def test_a_key_is_kept_as_its_hash_and_its_making_is_recorded_without_it(
    operator: httpx.AsyncClient, system_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await make_key(system_database, "dashboard", [OperatorScope.READ_QUEUE])
    secret = made.key.rpartition("_")[2]
    [act] = [each for each in (await operator.get("acts")).json()["items"] if each["subject"]["name"] == "dashboard"]
    assert act["act"] == "operator-key.create"
    assert act["subject"] == {"key_id": str(made.id), "name": "dashboard", "scopes": ["queue:read"]}
    async with system_database.system() as session:
        row = await session.scalar(text("SELECT row_to_json(k)::text FROM platform_keys k WHERE name = 'dashboard'"))
    assert secret not in f"{row}{act}{made!r}{caplog.text}"
