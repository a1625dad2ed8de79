"""`tenant isolate`, `tenant rejoin`: a tenant's sends in a schema of its own, or with everybody's."""

import asyncio
import uuid
from dataclasses import asdict
from typing import Annotated

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import owner_database, system_database
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.progress import terminal_progress
from control_plane.operators.acts import Act, record
from control_plane.tenancy.isolation import Moved, isolate_tenant, rejoin_tenant
from control_plane.tenancy.partitions import schema_of
from control_plane.tenancy.tenants import require_tenant

isolation_commands = typer.Typer()

Tenant = Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")]
_MOVES = {Act.ISOLATE_TENANT: isolate_tenant, Act.REJOIN_TENANT: rejoin_tenant}


@isolation_commands.command()
def isolate(tenant: Tenant, as_json: Json = False, instance: Instance = "main") -> None:
    """Move a tenant's sends and their events into partitions in a schema of its own, while all goes on.

    Cut short, it is gone on with by giving the command again.
    """
    _show(tenant, asyncio.run(_move(instance, tenant, Act.ISOLATE_TENANT)), schema_of(tenant), as_json=as_json)


@isolation_commands.command()
def rejoin(tenant: Tenant, as_json: Json = False, instance: Instance = "main") -> None:
    """Move a tenant's sends back to where all others' are, and drop its own schema; as live as the way out."""
    _show(tenant, asyncio.run(_move(instance, tenant, Act.REJOIN_TENANT)), "public", as_json=as_json)


async def _move(instance: str, tenant: uuid.UUID, act: Act) -> Moved:
    async with system_database(instance) as system, owner_database(instance) as owner:
        async with system.system() as session:
            await require_tenant(session, tenant)
            await record(session, this_user(), act, {"tenant_id": tenant})
        with terminal_progress() as progress:
            progress.step("moving sends, a page at a time")
            return await _MOVES[act](
                owner, system, tenant, lambda moved, total: progress.detail(f"{moved} of {total} sends moved")
            )


def _show(tenant: uuid.UUID, moved: Moved, schema: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenant_id": tenant, "schema": schema, **asdict(moved)})
    else:
        say(f"the sends of tenant {tenant} lie in the schema {schema}; {moved.sends} were moved")
