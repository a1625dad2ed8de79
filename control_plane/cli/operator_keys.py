"""`operator-key`: make, list and revoke the keys of the operators' REST API."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.cli.tenants import Name, checked_name
from control_plane.clock import utc_now
from control_plane.operators.keys import NewOperatorKey, create_operator_key, operator_keys, revoke_operator_key
from control_plane.operators.scopes import READING, OperatorScope, parse_scopes
from db.models import PlatformKey

operator_key_commands = typer.Typer(no_args_is_help=True, help="Keys of the operators' REST API.")

#: Ten years: a key that shall last longer has no expiry.
_MOST_DAYS = 3650
_SCOPES_HELP = f"One of {', '.join(OperatorScope)}; may be given again. Left out: {', '.join(sorted(READING))}."


@operator_key_commands.command("create")
def create_key(
    name: Name,
    scope: Annotated[list[str] | None, typer.Option(help=_SCOPES_HELP)] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, max=_MOST_DAYS, help="In force for so many days.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Make an operator's key and print it. It cannot be shown again."""
    scopes = parse_scopes(scope or [])
    expires_at = None if expires_days is None else utc_now() + dt.timedelta(days=expires_days)
    made = asyncio.run(_create(instance, checked_name(name), scopes, expires_at))
    if as_json:
        print_json({"id": made.id, "operator_key": made.key, "scopes": sorted(scopes), "expires_at": expires_at})
    else:
        print(made.key)
        say(f"key {made.id} opens {', '.join(sorted(scopes))}; keep it: it cannot be shown again")


@operator_key_commands.command("list")
def list_keys(as_json: Json = False, instance: Instance = "main") -> None:
    """List the operators' keys, also those that are out of force."""
    rows = [_fields(key) for key in asyncio.run(_list(instance))]
    if as_json:
        print_json(rows)
    elif rows:
        print_table([row | {"scopes": " ".join(row["scopes"])} for row in rows])
    else:
        print("There are no operators' keys yet.")


@operator_key_commands.command("revoke")
def revoke_key(
    key: Annotated[uuid.UUID, typer.Argument(help="The key's id, as `list` shows it.")],
    reason: Annotated[str | None, typer.Option(help="For people to read.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Put a key out of force, at once and for good."""
    asyncio.run(_revoke(instance, key, reason))
    if as_json:
        print_json({"revoked": key})
    else:
        say(f"the key {key} is revoked")


async def _create(
    instance: str, name: str, scopes: frozenset[OperatorScope], expires_at: dt.datetime | None
) -> NewOperatorKey:
    async with system_session(instance) as session:
        return await create_operator_key(session, this_user(), name, scopes, expires_at)


async def _list(instance: str) -> Sequence[PlatformKey]:
    async with system_session(instance) as session:
        return await operator_keys(session)


async def _revoke(instance: str, key: uuid.UUID, reason: str | None) -> None:
    async with system_session(instance) as session:
        await revoke_operator_key(session, this_user(), key, reason)


def _fields(key: PlatformKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
