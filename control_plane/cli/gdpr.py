"""`gdpr`: what a tenant has on a data subject, and its erasure, as the tenant's own API does it."""

import asyncio
import dataclasses
import uuid
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.messages.suppressions import address_on_list
from control_plane.operators.acts import Act, record
from control_plane.privacy.export import export_data_subject
from control_plane.privacy.requests import request_erasure
from control_plane.tenancy.scope import TenantScope

gdpr_commands = typer.Typer(no_args_is_help=True, help="All that a tenant has on a data subject; its erasure.")

Tenant = Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")]
Address = Annotated[str, typer.Argument(help="The data subject's mail address.")]


@gdpr_commands.command()
def export(tenant: Tenant, address: Address, instance: Instance = "main") -> None:
    """Print all that is held on a data subject as one JSON object."""
    print_json(asyncio.run(_export(instance, tenant, address_on_list(address, "/address"))))


@gdpr_commands.command()
def erase(tenant: Tenant, address: Address, as_json: Json = False, instance: Instance = "main") -> None:
    """Have all that is held on a data subject erased, once their last message came to its end."""
    erasure = asyncio.run(_erase(instance, tenant, address_on_list(address, "/address")))
    if as_json:
        print_json({"erasure": erasure})
    else:
        say(f"erasure {erasure} is under way; nothing more is sent to the address")


async def _export(instance: str, tenant: uuid.UUID, address: str) -> dict[str, Any]:
    scope = TenantScope(tenant, frozenset())
    async with system_session(instance) as session:
        await record(session, this_user(), Act.EXPORT_SUBJECT, {"tenant_id": tenant})
        page = await export_data_subject(session, scope, address, None)
        held = dataclasses.asdict(page)
        del held["next"]
        while page.next is not None:
            page = await export_data_subject(session, scope, address, page.next)
            held["messages"] += dataclasses.asdict(page)["messages"]
        return held


async def _erase(instance: str, tenant: uuid.UUID, address: str) -> uuid.UUID:
    async with system_session(instance) as session:
        actor = this_user()
        scope = TenantScope(tenant, frozenset(), actor=f"operator {actor.name}")
        erasure = await request_erasure(session, scope, address)
        await record(session, actor, Act.ERASE_SUBJECT, {"tenant_id": tenant, "erasure_id": erasure.id})
        return erasure.id
