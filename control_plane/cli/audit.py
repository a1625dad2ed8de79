"""`audit`: whether tenants' records of deeds are whole, and a record as JSON lines."""

import asyncio
import json
import uuid
from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy import text

from control_plane.audit.chain import ChainChecker, Link
from control_plane.audit.record import walk
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.errors import InvalidInput

audit_commands = typer.Typer(no_args_is_help=True, help="What tenants' people and programs did, as chains of hashes.")

_TENANTS = text("SELECT id FROM tenants ORDER BY id")
_HASH_BYTES = 32

Anchor = Annotated[
    str, typer.Option(metavar="POSITION:HASH", help="What an earlier verify printed; it must still be there.")
]


@audit_commands.command()
def verify(
    tenant: Annotated[uuid.UUID | None, typer.Option(help="One tenant's; all when left out.")] = None,
    anchor: Anchor = "",
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Find deeds that were altered, removed or put in, exiting with 1 if any. Keep elsewhere what it prints."""
    if anchor and tenant is None:
        raise InvalidInput("an anchor is one tenant's: name it with --tenant")
    found = asyncio.run(_verify(instance, tenant, _parsed(anchor) if anchor else None))
    if as_json:
        print_json(found)
    else:
        for each in found:
            print(f"{each['tenant_id']} {each['position']}:{each['hash']}")
            for fault in each["faults"]:
                say(f"{each['tenant_id']}: {fault}")
    if any(each["faults"] for each in found):
        raise typer.Exit(1)


@audit_commands.command()
def export(tenant: Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")], instance: Instance = "main") -> None:
    """Print a tenant's record of deeds, oldest first, one JSON object a line."""
    asyncio.run(_export(instance, tenant))


async def _verify(instance: str, tenant: uuid.UUID | None, anchor: tuple[int, bytes] | None) -> list[dict[str, Any]]:
    found = []
    async with system_session(instance) as session:
        for tenant_id in [tenant] if tenant else (await session.scalars(_TENANTS)).all():
            checker = ChainChecker(anchor)
            async for link in walk(session, tenant_id):
                checker.look_at(link)
            faults = checker.end()
            found.append(
                {"tenant_id": tenant_id, "position": checker.position, "hash": checker.hash.hex(), "faults": faults}
            )
    return found


async def _export(instance: str, tenant: uuid.UUID) -> None:
    async with system_session(instance) as session:
        async for link in walk(session, tenant):
            print(json.dumps(_line(link), ensure_ascii=False))


def _line(link: Link) -> dict[str, Any]:
    told = {"position": link.position, **asdict(link.deed), "at": link.deed.at.isoformat()}
    return {**told, "previous_hash": link.previous_hash.hex(), "hash": link.hash.hex()}


def _parsed(anchor: str) -> tuple[int, bytes]:
    position, _, digest = anchor.partition(":")
    try:
        known = bytes.fromhex(digest)
    except ValueError:
        known = b""
    if not position.isdecimal() or len(known) != _HASH_BYTES:
        raise InvalidInput("an anchor is a position, a colon and a hash of 64 hexadecimal digits")
    return int(position), known
