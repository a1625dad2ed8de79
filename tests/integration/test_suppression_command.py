"""`penguin suppression`, against a real database."""

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from control_plane.cli import suppressions
from control_plane.cli.suppressions import read_addresses, suppression_commands
from control_plane.errors import InvalidInput, NotFound
from control_plane.messages.suppressions import Reason, Source, suppress
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from tests.integration.command_session import system_session_on
from tests.integration.database import FreshDatabase, SomeTenant, until_blocked

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(database: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setattr(suppressions, "system_session", system_session_on(database))
    return lambda *words: CliRunner().invoke(suppression_commands, [str(word) for word in words])


def listed(invoke: Invoke, tenant: SomeTenant, *options: str) -> dict[str, Any]:
    rows = json.loads(invoke("list", tenant.id, "--json", "--reveal", *options).stdout)
    return {row["address"]: row for row in rows}


def test_addresses_are_added_listed_and_removed(invoke: Invoke, tenant: SomeTenant) -> None:
    assert invoke("list", tenant.id).stdout == "There are no suppressions.\n"
    assert "anna@example.net" in invoke("add", tenant.id, "Anna@example.net", "b@example.net").stdout
    masked = json.loads(invoke("list", tenant.id, "--json").stdout)
    assert {row["address"] for row in masked} == {"a…@e….net", "b…@e….net"}
    assert set(listed(invoke, tenant)) == {"anna@example.net", "b@example.net"}
    row = listed(invoke, tenant, "--address", "ANNA@example.net")["anna@example.net"]
    assert (row["reason"], row["source"]) == ("manual", "operator")
    assert json.loads(invoke("remove", tenant.id, row["id"], "--json").stdout) == {"removed": row["id"]}
    assert set(listed(invoke, tenant)) == {"b@example.net"}
    assert isinstance(invoke("remove", tenant.id, uuid.uuid4()).exception, NotFound)


async def test_acts_are_recorded_without_addresses(
    invoke: Invoke, tenant: SomeTenant, system_database: Database
) -> None:
    await asyncio.to_thread(invoke, "add", tenant.id, "anna@example.net")
    async with system_database.system() as session:
        (act,) = (await session.execute(text("SELECT act, subject FROM operator_acts"))).all()
    assert act.act == "suppression.add"
    assert act.subject == {"tenant_id": str(tenant.id), "count": "1", "source": "operator"}


def test_a_file_is_imported_whole(invoke: Invoke, tenant: SomeTenant, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("Email,When\nAnna@example.net,2026-01-01\n\nb@example.net\nanna@example.net\n", encoding="utf-8")
    shown = invoke("import", tenant.id, str(file), "--reason", "unsubscribe", "--json")
    assert json.loads(shown.stdout) == {"imported": 2}
    assert {row["source"] for row in listed(invoke, tenant, "--reason", "unsubscribe").values()} == {"import"}


async def test_imports_take_addresses_in_one_order_over_all_pages(
    invoke: Invoke, tenant: SomeTenant, tmp_path: Path, system_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppressions, "_PAGE", 1)
    file = tmp_path / "list.csv"
    file.write_text("b@example.net\na@example.net\n", encoding="utf-8")
    scope = TenantScope(tenant.id, frozenset())
    async with system_database.system() as session:
        await suppress(session, scope, ["a@example.net"], Reason.MANUAL, Source.API)
        importing = asyncio.create_task(asyncio.to_thread(invoke, "import", tenant.id, str(file)))
        await until_blocked(system_database)
        await suppress(session, scope, ["b@example.net"], Reason.MANUAL, Source.API)
    assert (await importing).exit_code == 0


def test_a_line_without_an_address_refuses_the_file(invoke: Invoke, tenant: SomeTenant, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("a@example.net\nnobody\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"^line 2: "):
        read_addresses(file)
    assert isinstance(invoke("import", tenant.id, str(file)).exception, InvalidInput)
    assert listed(invoke, tenant) == {}
