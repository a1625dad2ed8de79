import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from control_plane.cli import tenants
from control_plane.cli.main import app
from control_plane.errors import InvalidInput, NotFound
from control_plane.tenancy.tenants import create_workspace
from db.session import Database
from tests.integration.command_session import system_session_on
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.rest import client_of, problem

Command = Callable[..., Any]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase) -> Command:
    """Runs `penguin api-key ...` on the test's database and returns what it did."""

    monkeypatch.setattr(tenants, "system_session", system_session_on(database))

    async def run(*words: object) -> Any:  # noqa: ANN401 - typer's result has no public type
        return await asyncio.to_thread(CliRunner().invoke, app, ["api-key", *map(str, words)])

    return run


async def keys_of(command: Command, tenant: SomeTenant) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((await command("list", tenant.id, "--json")).stdout)
    return listed


async def test_a_key_opens_what_was_asked_for_until_it_is_revoked(
    command: Command, rest_app: FastAPI, tenant: SomeTenant
) -> None:
    options = ("--scope", "api-keys:read", "--network", "127.0.0.0/8", "--expires-days", "30", "--json")
    made = json.loads((await command("create", tenant.id, "auditor", *options)).stdout)
    async with client_of(rest_app, made["api_key"]) as client:
        assert (await client.get("api-keys")).status_code == 200
        problem(await client.get(f"workspaces/{tenant.workspace_id}/inboxes"), 403, "forbidden")
        [listed] = [key for key in await keys_of(command, tenant) if key["name"] == "auditor"]
        assert (listed["scopes"], listed["networks"]) == (["api-keys:read"], "127.0.0.0/8")
        assert listed["expires_at"] is not None
        assert (await command("revoke", tenant.id, listed["id"])).exit_code == 0
        problem(await client.get("api-keys"), 401, "unauthenticated")


async def test_a_role_stands_for_its_scopes(command: Command, tenant: SomeTenant) -> None:
    result = await command("create", tenant.id, "billing", "--role", "billing")
    assert "opens servers:read, tenant:read;" in result.stderr
    [key] = result.stdout.split()
    table = (await command("list", tenant.id)).stdout
    assert key.split("_")[3] not in table


async def test_a_key_of_a_workspace_is_for_that_one_alone(
    command: Command, rest_app: FastAPI, tenant: SomeTenant, other_tenant: SomeTenant, system_database: Database
) -> None:
    async with system_database.system() as session:
        await create_workspace(session, tenant.id, "Support")
    made = json.loads((await command("create", tenant.id, "k", "--workspace", tenant.workspace_id, "--json")).stdout)
    async with client_of(rest_app, made["api_key"]) as client:
        seen = (await client.get("workspaces")).json()["items"]
    assert [each["id"] for each in seen] == [str(tenant.workspace_id)]
    elsewhere = await command("create", tenant.id, "k", "--workspace", other_tenant.workspace_id)
    assert isinstance(elsewhere.exception, NotFound)


@pytest.mark.parametrize(
    "options",
    [("--scope", "everything"), ("--scope", "servers:read", "--role", "owner"), ("--network", "192.0.2.1/24")],
)
async def test_what_makes_no_sense_is_refused(command: Command, tenant: SomeTenant, options: tuple[str, ...]) -> None:
    assert isinstance((await command("create", tenant.id, "wrong", *options)).exception, InvalidInput)
    assert len(await keys_of(command, tenant)) == 1


async def test_another_tenants_key_is_not_there(command: Command, tenant: SomeTenant, other_tenant: SomeTenant) -> None:
    [key] = await keys_of(command, other_tenant)
    assert isinstance((await command("revoke", tenant.id, key["id"])).exception, NotFound)
    assert (await keys_of(command, other_tenant))[0]["revoked_at"] is None
    assert (await command("list", uuid.uuid4())).stdout == "The tenant has no API keys yet.\n"
