"""`inbox move`: bring the inboxes of a domain to another server, with their mail."""

import asyncio
import uuid
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json
from control_plane.errors import NotFound
from control_plane.inboxes.moves import request_move
from control_plane.operators.acts import Act, record
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from db.models import Inbox

inbox_commands = typer.Typer(no_args_is_help=True, help="Inboxes.")


@inbox_commands.callback()
def _inbox() -> None:
    """Keep `move` a command of its own beside what may follow."""


@inbox_commands.command()
def move(
    inbox: Annotated[uuid.UUID, typer.Argument(metavar="ID", help="The inbox's id.")],
    server: Annotated[uuid.UUID, typer.Argument(metavar="SERVER", help="The id of the server that it goes to.")],
    reason: Annotated[str | None, typer.Option(help="For people to read; kept with the act.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Move an inbox, and all others of its domain, to another server of the workspace, with their mail."""
    run_id = asyncio.run(_move(instance, inbox, server, reason))
    if as_json:
        print_json({"inbox_id": inbox, "vps_id": server, "run_id": run_id})
    else:
        print(f"the domain's inboxes are moved by run {run_id}; GET /api/v1/inboxes/{inbox} shows how far it has come")


async def _move(instance: str, inbox_id: uuid.UUID, vps_id: uuid.UUID, reason: str | None) -> uuid.UUID:
    """Ask for it and record it in one transaction."""
    async with system_session(instance) as session:
        run_id = await request_move(session, await _scope(session, inbox_id), inbox_id, vps_id)
        await record(session, this_user(), Act.MOVE_INBOX, {"inbox_id": inbox_id, "vps_id": vps_id}, reason)
        return run_id


async def _scope(session: AsyncSession, inbox_id: uuid.UUID) -> TenantScope:
    tenant_id = await session.scalar(select(Inbox.tenant_id).where(Inbox.id == inbox_id))
    if tenant_id is None:
        raise NotFound("There is no such inbox.")
    return TenantScope(tenant_id, frozenset(Permission))
