"""`tenant create`, `workspace create`, `api-key create`: what an operator makes before a tenant can use the API."""

import asyncio
import uuid
from typing import Annotated

import typer

from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.errors import InvalidInput
from control_plane.identity.api_keys import create_api_key
from control_plane.tenancy import tenants

tenant_commands = typer.Typer(no_args_is_help=True, help="Tenants: whose mail servers these are.")
workspace_commands = typer.Typer(no_args_is_help=True, help="Workspaces: what a tenant divides its work into.")
key_commands = typer.Typer(no_args_is_help=True, help="API keys: bearer tokens for the REST API.")

_LONGEST_NAME = 255

Name = Annotated[str, typer.Argument(help="For people to read, at most 255 characters.")]
Tenant = Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")]


@tenant_commands.command("create")
def create_tenant(name: Name, as_json: Json = False, instance: Instance = "main") -> None:
    """Make a tenant and print its id."""
    _show("tenant_id", str(asyncio.run(_create_tenant(instance, checked_name(name)))), name, as_json=as_json)


@workspace_commands.command("create")
def create_workspace(tenant: Tenant, name: Name, as_json: Json = False, instance: Instance = "main") -> None:
    """Make a workspace of a tenant and print its id."""
    _show(
        "workspace_id", str(asyncio.run(_create_workspace(instance, tenant, checked_name(name)))), name, as_json=as_json
    )


@key_commands.command("create")
def create_key(tenant: Tenant, name: Name, as_json: Json = False, instance: Instance = "main") -> None:
    """Make an API key for a tenant and print it. It cannot be shown again."""
    key = asyncio.run(_create_key(instance, tenant, checked_name(name)))
    _show("api_key", key, name, as_json=as_json)
    if not as_json:
        say("keep it: it cannot be shown again")


async def _create_tenant(instance: str, name: str) -> uuid.UUID:
    async with system_session(instance) as session:
        return await tenants.create_tenant(session, name)


async def _create_workspace(instance: str, tenant: uuid.UUID, name: str) -> uuid.UUID:
    async with system_session(instance) as session:
        return await tenants.create_workspace(session, tenant, name)


async def _create_key(instance: str, tenant: uuid.UUID, name: str) -> str:
    async with system_session(instance) as session:
        return await create_api_key(session, tenant, name)


def checked_name(name: str) -> str:
    """Return a name without the spaces around it; raise `InvalidInput` for none that people can read."""
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"a name has 1 to {_LONGEST_NAME} printable characters")
    return name.strip()


def _show(field: str, value: str, name: str, *, as_json: bool) -> None:
    """Print what was made, alone on its line, so that a shell can take it up."""
    if as_json:
        print_json({field: value, "name": name})
    else:
        print(value)
