"""`penguin domain`: list, show, rotate-dkim, repair, against a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typer.testing import CliRunner, Result

from control_plane.cli import domains
from control_plane.cli.domains import domain_commands
from control_plane.dns.publishers.chosen import Choice, Kind, choose
from control_plane.errors import NotFound
from control_plane.inboxes.domains import generate_dkim_key
from control_plane.sealing import Sealer
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_inbox, make_server

Invoke = Callable[..., Result]
SEALER = Sealer(bytes(32))


@pytest.fixture
def invoke(database: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    @asynccontextmanager
    async def session(_instance: str) -> AsyncIterator[AsyncSession]:
        opened = Database(database.url("penguin_system"), pool_size=1)
        try:
            async with opened.system() as transaction:
                yield transaction
        finally:
            await opened.close()

    monkeypatch.setattr(domains, "system_session", session)
    return lambda *words: CliRunner().invoke(domain_commands, list(words))


@pytest.fixture
async def name(system_database: Database, tenant: SomeTenant) -> str:
    """Make a domain with a key, a record that is not verified, and a DNS host of its own."""
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    key = generate_dkim_key("pm1", SEALER)
    async with system_database.system() as session:
        domain = (
            await session.execute(
                text("SELECT d.id, d.name FROM domains d JOIN inboxes i ON i.domain_id = d.id WHERE i.id = :inbox"),
                {"inbox": inbox.id},
            )
        ).one()
        await session.execute(
            text(
                "INSERT INTO dkim_keys (id, tenant_id, domain_id, selector, private_key_sealed, public_key)"
                " VALUES (:key, :tenant, :domain, 'pm1', :sealed, :public)"
            ),
            {
                "key": key.id,
                "sealed": key.private_key_sealed,
                "public": key.public_key,
                "tenant": tenant.id,
                "domain": domain.id,
            },
        )
        await session.execute(
            text(
                "INSERT INTO dns_records (tenant_id, inbox_id, domain, record_type, record_name, record_value)"
                " VALUES (:tenant, :inbox, :name, 'MX', '@', '10 mx-1.penguin.example')"
            ),
            {"tenant": tenant.id, "inbox": inbox.id, "name": domain.name},
        )
        await choose(session, tenant.id, domain.id, Choice(Kind.HETZNER, {}, {"token": "hush"}), SEALER)
    return str(domain.name)


def asked(invoke: Invoke, *words: str) -> Any:  # noqa: ANN401 - JSON
    done = invoke(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def in_thread(invoke: Invoke, *words: str) -> Any:  # noqa: ANN401 - JSON
    return await asyncio.to_thread(asked, invoke, *words)


async def test_domains_are_listed_with_keys_host_and_what_is_not_verified(invoke: Invoke, name: str) -> None:
    (row,) = await in_thread(invoke, "list")
    assert (row["name"], row["publisher"], row["dkim_keys"], row["not_verified"]) == (name, "hetzner", "pm1 active", 1)


async def test_a_domain_is_shown_without_any_secret(invoke: Invoke, name: str) -> None:
    shown = await in_thread(invoke, "show", name)
    plain = await asyncio.to_thread(invoke, "show", name)
    assert shown["dkim_keys"][0]["state"] == "active"
    assert [(record["type"], record["status"]) for record in shown["records"]] == [("MX", "pending")]
    assert shown["rotation"] is None
    assert "published by: hetzner" in plain.stdout
    assert "hush" not in json.dumps(shown) + plain.stdout


async def test_a_change_of_keys_and_a_repair_are_one_run_each(invoke: Invoke, name: str) -> None:
    for words in (("rotate-dkim", name), ("repair", name)):
        assert await in_thread(invoke, *words) == await in_thread(invoke, *words)
    assert (await in_thread(invoke, "show", name))["rotation"]["kind"] == "domain.rotate_dkim"


async def test_a_name_that_is_no_domain_is_not_found(invoke: Invoke, name: str) -> None:
    done = await asyncio.to_thread(invoke, "show", f"not.{name}")
    assert isinstance(done.exception, NotFound)


async def test_a_domain_that_was_deleted_is_not_there_and_its_name_is_the_next_ones(
    system_database: Database, invoke: Invoke, other_tenant: SomeTenant, name: str
) -> None:
    async with system_database.system() as session:
        deleted = "INSERT INTO domains (tenant_id, name, deleted_at) VALUES (:tenant, :name, now())"
        await session.execute(text(deleted), {"tenant": other_tenant.id, "name": name})
    assert (await in_thread(invoke, "show", name))["publisher"] == "hetzner"
    assert [each["name"] for each in await in_thread(invoke, "list")] == [name]
