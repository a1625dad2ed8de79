"""What is done in a tenant is written down with it, and what is done to that record shows."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner

from control_plane.audit.chain import ChainChecker
from control_plane.audit.record import walk
from control_plane.cli import audit
from control_plane.cli.main import app
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import client_of, problem


async def deeds(client: httpx.AsyncClient, **query: int | str) -> list[dict[str, object]]:
    answer = await client.get("audit", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, object]] = answer.json()["items"]
    return items


async def make_workspaces(client: httpx.AsyncClient, count: int) -> list[str]:
    made = [await client.post("workspaces", json={"name": f"W{n}"}) for n in range(count)]
    return [each.json()["id"] for each in made]


async def faults_of(database: Database, tenant_id: uuid.UUID, anchor: tuple[int, bytes] | None = None) -> list[str]:
    checker = ChainChecker(anchor)
    async with database.system() as session:
        async for link in walk(session, tenant_id):
            checker.look_at(link)
    return checker.end()


async def test_a_change_is_written_down_with_who_what_and_from_where(rest_client: httpx.AsyncClient) -> None:
    made = await rest_client.post("workspaces", json={"name": "Herring"})
    workspace_id = made.json()["id"]
    await rest_client.patch(f"workspaces/{workspace_id}", json={"name": "Cod"})
    await rest_client.delete(f"workspaces/{workspace_id}")
    deleted, renamed, created = await deeds(rest_client)
    assert [each["act"] for each in (created, renamed, deleted)] == [
        "POST /workspaces",
        "PATCH /workspaces/{workspace_id}",
        "DELETE /workspaces/{workspace_id}",
    ]
    assert created["subject"] == {"id": workspace_id}
    assert deleted["subject"] == {"workspace_id": workspace_id}
    assert created["fields"] == ["name"]
    assert str(created["actor"]).startswith("api-key ")
    assert created["request_id"] == made.headers["X-Request-Id"]
    assert created["address"] == "127.0.0.1"
    assert "Herring" not in json.dumps([created, renamed, deleted])
    assert renamed["previous_hash"] == created["hash"]


async def test_what_was_refused_or_only_repeated_or_looked_at_is_not_a_deed(rest_client: httpx.AsyncClient) -> None:
    once = {"Idempotency-Key": "once"}
    for _ in range(2):
        assert (await rest_client.post("workspaces", json={"name": "Herring"}, headers=once)).status_code == 201
    assert (await rest_client.post("workspaces", json={"nome": "Cod"})).status_code == 422
    assert (await rest_client.delete(f"workspaces/{uuid.uuid4()}")).status_code == 404
    await rest_client.get("workspaces")
    assert len(await deeds(rest_client)) == 1


async def test_sends_are_not_written_down_one_by_one(
    rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    hello = {"to": "anna@example.net", "subject": "Hello", "text": "Hello\n"}
    assert (await rest_client.post(f"inboxes/{inbox.id}/messages", json=hello)).status_code == 202
    batch = {"messages": [hello]}
    assert (await rest_client.post(f"inboxes/{inbox.id}/messages:batch", json=batch)).is_success
    assert await deeds(rest_client) == []


async def test_deeds_that_come_at_once_make_one_chain_for_each_tenant(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    tenant: SomeTenant,
    other_tenant: SomeTenant,
) -> None:
    both = [make_workspaces(client, 4) for client in (rest_client, other_client) for _ in range(3)]
    await asyncio.gather(*both)
    for who, client in ((tenant, rest_client), (other_tenant, other_client)):
        assert sorted(int(str(each["position"])) for each in await deeds(client)) == list(range(1, 13))
        assert await faults_of(system_database, who.id) == []
    page = (await rest_client.get("audit", params={"limit": 2})).json()
    assert [each["position"] for each in page["items"]] == [12, 11]
    assert [each["position"] for each in await deeds(rest_client, limit=1, after=page["next"])] == [10]


async def test_deeds_are_found_by_who_what_and_when(
    rest_app: FastAPI, rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient
) -> None:
    made = (await rest_client.post("api-keys", json={"name": "k", "scopes": ["tenant:manage"]})).json()
    async with client_of(rest_app, made["key"]) as client:
        await make_workspaces(client, 2)
    second, first, key = await deeds(rest_client)

    async def found(client: httpx.AsyncClient = rest_client, /, **wanted: object) -> list[object]:
        query = {name: str(value) for name, value in wanted.items()}
        return [each["position"] for each in await deeds(client, **query)]

    assert await found(actor=first["actor"]) == [second["position"], first["position"]]
    assert await found(act="POST /api-keys") == [key["position"]]
    assert await found(act="POST /api-keys", actor=first["actor"]) == []
    assert await found(**{"from": first["at"], "to": second["at"]}) == [first["position"]]
    assert await found(**{"from": second["at"]}) == [second["position"]]
    assert await found(other_client, actor=first["actor"]) == []
    page = (await rest_client.get("audit", params={"act": "POST /workspaces", "limit": 1})).json()
    query = {"act": "POST /workspaces", "after": page["next"]}
    assert await found(**query) == [first["position"]]
    problem(await rest_client.get("audit", params={"after": page["next"]}), 400, "invalid-cursor")
    for wrong in ({"actor": "\0"}, {"from": "1732233600"}, {"to": "2026-11-22T09:30:00"}):
        problem(await rest_client.get("audit", params=wrong), 422, "invalid-input")


async def test_only_who_may_read_the_record_reads_it(rest_app: FastAPI, rest_client: httpx.AsyncClient) -> None:
    key = (await rest_client.post("api-keys", json={"name": "k", "scopes": ["webhooks:read"]})).json()["key"]
    async with client_of(rest_app, key) as client:
        problem(await client.get("audit"), 403, "forbidden")


async def test_neither_role_can_alter_or_take_away_a_deed(
    rest_client: httpx.AsyncClient, api_database: Database, system_database: Database, tenant: SomeTenant
) -> None:
    await make_workspaces(rest_client, 1)
    statements = {
        "UPDATE audit_events SET actor = 'nobody'": "permission denied",
        # For tenants that are erased, and for no other.
        "DELETE FROM audit_events": "deeds of a tenant that is not being erased stay",
    }
    for statement, refusal in statements.items():
        with pytest.raises(DBAPIError, match="permission denied"):
            async with api_database.tenant(tenant.id) as session:
                await session.execute(text(statement))
        with pytest.raises(DBAPIError, match=refusal):
            async with system_database.system() as session:
                await session.execute(text(statement))


@pytest.mark.parametrize(
    "tampered",
    [
        ("UPDATE audit_events SET actor = 'nobody' WHERE position = 2", ["2: altered"]),
        ("UPDATE audit_events SET at = at + interval '1 microsecond' WHERE position = 2", ["2: altered"]),
        ("UPDATE audit_events SET fields = '{}' WHERE position = 4", ["4: altered"]),
        ("DELETE FROM audit_events WHERE position = 1", ["1: removed"]),
        ("DELETE FROM audit_events WHERE position IN (2, 3)", ["2 to 3: removed"]),
        ("UPDATE audit_events SET previous_hash = hash WHERE position = 3", ["3: does not follow", "3: altered"]),
        ("DELETE FROM audit_events WHERE position = 4", ["4: known, and removed"]),
    ],
)
async def test_what_the_owner_of_the_database_tampers_with_shows(
    rest_client: httpx.AsyncClient,
    system_database: Database,
    tenant: SomeTenant,
    owner_url: str,
    tampered: tuple[str, list[str]],
) -> None:
    tampering, found = tampered
    await make_workspaces(rest_client, 4)
    newest = (await deeds(rest_client, limit=1))[0]
    anchor = (4, bytes.fromhex(str(newest["hash"])))
    assert await faults_of(system_database, tenant.id, anchor) == []
    async with await psycopg.AsyncConnection.connect(owner_url) as owner:
        # An owner can do without triggers, too.
        await owner.execute(b"SET session_replication_role = replica")
        await owner.execute(tampering.encode())
    faults = await faults_of(system_database, tenant.id, anchor)
    assert len(faults) == len(found)
    assert all(fault.startswith(start) for fault, start in zip(faults, found, strict=True))


async def test_the_command_line_verifies_and_exports(
    rest_client: httpx.AsyncClient,
    database: FreshDatabase,
    tenant: SomeTenant,
    owner_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await make_workspaces(rest_client, 2)

    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        async with opened.system() as transaction:
            yield transaction
        await opened.close()

    monkeypatch.setattr(audit, "system_session", session)
    run = CliRunner().invoke
    verified = await asyncio.to_thread(run, app, ["audit", "verify"])
    newest = (await deeds(rest_client, limit=1))[0]
    assert f"{tenant.id} 2:{newest['hash']}" in verified.stdout
    exported = await asyncio.to_thread(run, app, ["audit", "export", str(tenant.id)])
    lines = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [line["act"] for line in lines] == ["POST /workspaces"] * 2
    async with await psycopg.AsyncConnection.connect(owner_url) as owner:
        await owner.execute("UPDATE audit_events SET act = 'nothing' WHERE position = 1")
    words = ["audit", "verify", "--tenant", str(tenant.id), "--anchor", f"2:{newest['hash']}"]
    assert (await asyncio.to_thread(run, app, words)).exit_code == 1
