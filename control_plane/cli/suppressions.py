"""`suppression`: the addresses that a tenant's mail is not sent to."""

import asyncio
import csv
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Row

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, Reveal, print_json, say
from control_plane.cli.tables import print_table
from control_plane.errors import InvalidInput
from control_plane.messages.suppressions import (
    Reason,
    Source,
    SuppressionFilter,
    address_on_list,
    list_suppressions,
    remove_suppression,
    suppress,
)
from control_plane.operators.acts import Act, record
from control_plane.operators.revealing import shows_addresses
from control_plane.operators.scopes import OperatorScope
from control_plane.tenancy.scope import TenantScope
from db.models import Suppression

suppression_commands = typer.Typer(no_args_is_help=True, help="Addresses that a tenant's mail is not sent to.")

#: Rows of one statement.
_PAGE = 1000

Tenant = Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")]
Because = Annotated[Reason, typer.Option(help="Why.")]


@suppression_commands.command()
def add(
    tenant: Tenant,
    address: Annotated[list[str], typer.Argument(help="Mail addresses.")],
    reason: Because = Reason.MANUAL,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Suppress addresses for a tenant. One that is suppressed already stays as it is."""
    addresses = [address_on_list(each, f"/{place}") for place, each in enumerate(address)]
    _show(asyncio.run(_add(instance, tenant, addresses, reason, Source.OPERATOR)), as_json=as_json)


@suppression_commands.command("list")
def list_all(
    tenant: Tenant,
    *,
    reason: Annotated[Reason | None, typer.Option(help="Of this reason alone.")] = None,
    address: Annotated[str | None, typer.Option(help="This address alone.")] = None,
    after: Annotated[uuid.UUID | None, typer.Option(help="Only ids after this one.")] = None,
    reveal: Reveal = False,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """List a tenant's suppressions, a thousand at a time."""
    named = None if address is None else address_on_list(address, "/address")
    wanted = SuppressionFilter(reason, None, named)
    _show(asyncio.run(_list(instance, tenant, wanted, after, reveal=reveal)), as_json=as_json)


@suppression_commands.command()
def remove(
    tenant: Tenant,
    suppression: Annotated[uuid.UUID, typer.Argument(help="Its id, as `suppression list` shows it.")],
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Take one off the list: messages to it are sent again."""
    asyncio.run(_remove(instance, tenant, suppression))
    if as_json:
        print_json({"removed": suppression})
    else:
        say(f"removed {suppression}")


@suppression_commands.command("import")
def import_file(
    tenant: Tenant,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV: an address first in each line.")],
    reason: Because = Reason.MANUAL,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Suppress the addresses of a file, all or none; a first line without an address counts as the names of columns."""
    addresses = read_addresses(file)
    asyncio.run(_add(instance, tenant, addresses, reason, Source.IMPORT))
    if as_json:
        print_json({"imported": len(addresses)})
    else:
        say(f"imported {len(addresses)}")


def read_addresses(file: Path) -> list[str]:
    """Return the addresses of a CSV file, each once; raise `InvalidInput` naming the first line that has none."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = [(number, row[0].strip()) for number, row in enumerate(csv.reader(lines), 1) if row and row[0].strip()]
    if rows and rows[0][0] == 1 and "@" not in rows[0][1]:
        rows = rows[1:]
    found: dict[str, None] = {}
    for number, address in rows:
        try:
            found[address_on_list(address, f"/{number}")] = None
        except InvalidInput as error:
            raise InvalidInput(f"line {number}: {error.detail}") from None
    return list(found)


async def _add(
    instance: str, tenant: uuid.UUID, addresses: Sequence[str], reason: Reason, source: Source
) -> list[dict[str, Any]]:
    scope = TenantScope(tenant, frozenset())
    # In one order over all pages, as `suppress` has it in each: two imports never wait in a circle.
    ordered = sorted(set(addresses))
    async with system_session(instance) as session:
        made = [
            each
            for start in range(0, len(ordered), _PAGE)
            for each in await suppress(session, scope, ordered[start : start + _PAGE], reason, source)
        ]
        # Acts are kept for good, and so name no address.
        subject = {"tenant_id": tenant, "count": len(made), "source": source.value}
        await record(session, this_user(), Act.SUPPRESS, subject, reason.value)
        return [_fields(each) for each in made]


async def _list(
    instance: str, tenant: uuid.UUID, wanted: SuppressionFilter, after: uuid.UUID | None, *, reveal: bool
) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        found = await list_suppressions(session, TenantScope(tenant, frozenset()), wanted, after, _PAGE)
        ids = [each.id for each in found]
        shows = await shows_addresses(session, this_user(), frozenset(OperatorScope), ids, reveal=reveal)
        return [_fields(each) | {"address": shows(each.address)} for each in found]


async def _remove(instance: str, tenant: uuid.UUID, suppression: uuid.UUID) -> None:
    async with system_session(instance) as session:
        await remove_suppression(session, TenantScope(tenant, frozenset()), suppression)
        subject = {"tenant_id": tenant, "suppression_id": suppression}
        await record(session, this_user(), Act.REMOVE_SUPPRESSION, subject)


def _fields(each: Suppression | Row[Any]) -> dict[str, Any]:
    return {name: getattr(each, name) for name in ("id", "address", "reason", "source", "created_at")}


def _show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        print("There are no suppressions.")
