"""`tenant create`, `workspace create`, `api-key`: what an operator makes before a tenant can use the API."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.clock import utc_now
from control_plane.errors import InvalidInput
from control_plane.identity.api_keys import KeyBounds, NewApiKey, insert_api_key
from control_plane.identity.networks import parse_network
from control_plane.operators.acts import Act, record
from control_plane.operators.tenants import erase
from control_plane.tenancy import tenants
from control_plane.tenancy.keys import list_keys, revoke_key
from control_plane.tenancy.permissions import EVERYTHING, ROLES, Permission, Role
from control_plane.tenancy.scope import TenantScope
from control_plane.tenancy.workspaces import chosen_workspaces
from db.models import ApiKeyRow

tenant_commands = typer.Typer(no_args_is_help=True, help="Tenants: whose mail servers these are.")
workspace_commands = typer.Typer(no_args_is_help=True, help="Workspaces: what a tenant divides its work into.")
key_commands = typer.Typer(no_args_is_help=True, help="API keys: bearer tokens for the REST API.")

_LONGEST_NAME = 255
#: Ten years: a key that shall last longer has no expiry.
_MOST_DAYS = 3650
#: So many keys are shown, by id.
_MOST_SHOWN = 1000
_SCOPES_HELP = f"One of {', '.join(each.value for each in Permission)}; may be given again. Left out: all."

Name = Annotated[str, typer.Argument(help="For people to read, at most 255 characters.")]
Tenant = Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")]


@tenant_commands.command("create")
def create_tenant(name: Name, as_json: Json = False, instance: Instance = "main") -> None:
    """Make a tenant and print its id."""
    _show("tenant_id", str(asyncio.run(_create_tenant(instance, checked_name(name)))), name, as_json=as_json)


@tenant_commands.command("erase")
def erase_tenant(
    tenant: Tenant,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Destroy a tenant's keys and have all that it has deleted, within minutes; there is no way back."""
    if not yes:
        typer.confirm(f"Erase tenant {tenant} and all that it has, for good?", abort=True)
    asyncio.run(_erase_tenant(instance, tenant))
    if as_json:
        print_json({"erasing": tenant})
    else:
        say(f"tenant {tenant} is being erased")


@workspace_commands.command("create")
def create_workspace(tenant: Tenant, name: Name, as_json: Json = False, instance: Instance = "main") -> None:
    """Make a workspace of a tenant and print its id."""
    _show(
        "workspace_id", str(asyncio.run(_create_workspace(instance, tenant, checked_name(name)))), name, as_json=as_json
    )


@key_commands.command("create")
def create_key(
    tenant: Tenant,
    name: Name,
    *,
    scope: Annotated[list[str] | None, typer.Option(help=_SCOPES_HELP)] = None,
    role: Annotated[Role | None, typer.Option(help="What somebody of this role may, in place of scopes.")] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, max=_MOST_DAYS, help="In force for so many days.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Of use from there alone; may be given again.")] = None,
    workspace: Annotated[list[uuid.UUID] | None, typer.Option(help="For this one alone; may be given again.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Make an API key for a tenant and print it. It cannot be shown again."""
    scopes = _scopes(scope or [], role)
    expires_at = None if expires_days is None else utc_now() + dt.timedelta(days=expires_days)
    bounds = KeyBounds(expires_at, tuple(parse_network(each, "--network") for each in network or []))
    workspaces = frozenset(workspace) if workspace else None
    made = asyncio.run(_create_key(instance, tenant, checked_name(name), scopes, bounds, workspaces=workspaces))
    _show("api_key", made.key, name, as_json=as_json)
    if not as_json:
        say(f"key {made.id} opens {', '.join(scopes or ['everything'])}; keep it: it cannot be shown again")


@key_commands.command("list")
def list_tenants_keys(tenant: Tenant, as_json: Json = False, instance: Instance = "main") -> None:
    """List a tenant's API keys, also those that are out of force."""
    rows = [_fields(key) for key in asyncio.run(_list_keys(instance, tenant))]
    if as_json:
        print_json(rows)
    elif rows:
        print_table([row | {"scopes": " ".join(row["scopes"] or ["everything"])} for row in rows])
    else:
        print("The tenant has no API keys yet.")


@key_commands.command("revoke")
def revoke_tenants_key(
    tenant: Tenant,
    key: Annotated[uuid.UUID, typer.Argument(help="The key's id, as `list` shows it.")],
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Put a tenant's API key out of force, at once and for good."""
    asyncio.run(_revoke_key(instance, tenant, key))
    if as_json:
        print_json({"revoked": key})
    else:
        say(f"the key {key} is revoked")


async def _create_tenant(instance: str, name: str) -> uuid.UUID:
    async with system_session(instance) as session:
        tenant_id = await tenants.create_tenant(session, name)
        # Acts are kept for good, also when the tenant is erased, and so name no names.
        await record(session, this_user(), Act.CREATE_TENANT, {"tenant_id": tenant_id})
        return tenant_id


async def _erase_tenant(instance: str, tenant: uuid.UUID) -> None:
    async with system_session(instance) as session:
        await erase(session, this_user(), tenant)


async def _create_workspace(instance: str, tenant: uuid.UUID, name: str) -> uuid.UUID:
    async with system_session(instance) as session:
        workspace_id = await tenants.create_workspace(session, tenant, name)
        subject = {"tenant_id": tenant, "workspace_id": workspace_id}
        await record(session, this_user(), Act.CREATE_WORKSPACE, subject)
        return workspace_id


async def _create_key(
    instance: str,
    tenant: uuid.UUID,
    name: str,
    scopes: list[str] | None,
    bounds: KeyBounds,
    *,
    workspaces: frozenset[uuid.UUID] | None,
) -> NewApiKey:
    async with system_session(instance) as session:
        there = await chosen_workspaces(session, TenantScope(tenant, EVERYTHING), workspaces)
        made = await insert_api_key(
            session, tenant, name, created_by="operator", scopes=scopes, bounds=bounds, workspaces=there
        )
        subject = {
            "tenant_id": tenant,
            "key_id": made.id,
            "scopes": scopes or ["everything"],
            "workspaces": None if there is None else sorted(map(str, there)),
            "networks": [str(each) for each in bounds.networks] or None,
            "expires_at": bounds.expires_at,
        }
        await record(session, this_user(), Act.CREATE_API_KEY, subject)
        return made


async def _list_keys(instance: str, tenant: uuid.UUID) -> Sequence[ApiKeyRow]:
    async with system_session(instance) as session:
        return await list_keys(session, TenantScope(tenant, EVERYTHING), "", None, _MOST_SHOWN)


async def _revoke_key(instance: str, tenant: uuid.UUID, key: uuid.UUID) -> None:
    async with system_session(instance) as session:
        await revoke_key(session, TenantScope(tenant, EVERYTHING), key)
        await record(session, this_user(), Act.REVOKE_API_KEY, {"tenant_id": tenant, "key_id": key})


def _scopes(names: Iterable[str], role: Role | None) -> list[str] | None:
    """Return a key's scopes, None for all; raise `InvalidInput` for one that there is not, or for a role beside."""
    asked, known = set(names), {each.value for each in Permission}
    if unknown := sorted(asked - known):
        raise InvalidInput(f"there is no scope {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    if asked and role:
        raise InvalidInput("a key has the scopes that are named or those of a role, not both")
    return sorted(each.value for each in ROLES[role]) if role else sorted(asked) or None


def _fields(key: ApiKeyRow) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "networks": " ".join(map(str, key.networks)),
        "workspaces": " ".join(map(str, key.workspaces or ())),
        "created_by": key.created_by,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


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
