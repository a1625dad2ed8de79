"""`pool list`, `pool addresses`: which addresses servers have, in which pools, and what became of what they sent."""

import asyncio
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.operators.acts import Act, record
from control_plane.pools.addresses import request_address, retire_address
from control_plane.pools.overview import PoolAddress, address_overview, tenant_of_server

pool_commands = typer.Typer(no_args_is_help=True, help="IP pools: the addresses that mail goes out by.")

_LONG_LINE = 1000
_COLUMNS = ("address", "name", "server", "state", "pools", "senders", "sent", "deferred", "bounced", "complained", "id")

Server = Annotated[uuid.UUID, typer.Argument(help="The server's id.")]
Address = Annotated[uuid.UUID, typer.Argument(help="The address's id.")]


@pool_commands.command("list")
def list_addresses(as_json: Json = False, instance: Instance = "main") -> None:
    """List all further addresses: pools, senders, and the last seven days' mail."""
    addresses = asyncio.run(_load(instance))
    if as_json:
        print_json([asdict(address) for address in addresses])
    elif addresses:
        _print_table(addresses)
    else:
        print("No server has a further address.")


@pool_commands.command("add-address")
def add_address(server: Server, as_json: Json = False, instance: Instance = "main") -> None:
    """Ask for one more address of a server; its provider may charge for it."""
    address_id = str(asyncio.run(_add(instance, server)))
    if as_json:
        print_json({"address_id": address_id})
    else:
        print(address_id)


@pool_commands.command("retire-address")
def give_address_back(server: Server, address: Address, instance: Instance = "main") -> None:
    """Give an address back, once nobody sends by it and its mail has gone out."""
    asyncio.run(_retire(instance, server, address))
    say(f"{address} is drained, and then given back")


async def _load(instance: str) -> Sequence[PoolAddress]:
    async with system_session(instance) as session:
        return await address_overview(session)


async def _add(instance: str, server: uuid.UUID) -> uuid.UUID:
    async with system_session(instance) as session:
        tenant_id = await tenant_of_server(session, server)
        address_id = await request_address(session, tenant_id, server)
        subject = {"tenant_id": tenant_id, "vps_id": server, "address_id": address_id}
        await record(session, this_user(), Act.ADD_ADDRESS, subject)
        return address_id


async def _retire(instance: str, server: uuid.UUID, address: uuid.UUID) -> None:
    async with system_session(instance) as session:
        tenant_id = await tenant_of_server(session, server)
        await retire_address(session, tenant_id, server, address)
        subject = {"tenant_id": tenant_id, "vps_id": server, "address_id": address}
        await record(session, this_user(), Act.RETIRE_ADDRESS, subject)


def _print_table(addresses: Sequence[PoolAddress]) -> None:
    table = Table(*_COLUMNS, box=None)
    for each in addresses:
        state = f"{each.state}: {each.state_reason}" if each.state_reason else each.state
        table.add_row(
            *(each.address or "-", each.hostname, each.server, state, ", ".join(each.pools) or "-"),
            *map(str, (each.senders, each.sent, each.deferred, each.bounced, each.complained, each.id)),
        )
    # Without a terminal, lines are as long as they are.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _LONG_LINE).print(table)
