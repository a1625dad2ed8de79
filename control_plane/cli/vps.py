"""`vps`: what an operator does to one server, recorded as an act."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json
from control_plane.errors import NotFound
from control_plane.operators.acts import Act, record
from control_plane.provisioning.power import PowerAction, request_power
from db.models import VpsServer

vps_commands = typer.Typer(no_args_is_help=True, help="One server: power.")

Server = Annotated[uuid.UUID, typer.Argument(help="The server's id.")]
Reason = Annotated[str | None, typer.Option(help="For people to read; kept with the act.")]

#: Does something to a server of a tenant; returns the run that does the rest, if there is one.
_Deed = Callable[[AsyncSession, uuid.UUID], Awaitable[uuid.UUID | None]]


@vps_commands.command()
def power(
    server: Server,
    action: Annotated[PowerAction, typer.Argument(help="`off` and `reset` cut the power at once; drain before.")],
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Switch a server's power at its provider, in the background."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> uuid.UUID:
        return await request_power(session, tenant_id=tenant_id, vps_id=server, action=action)

    run_id = asyncio.run(_do(instance, server, Act.POWER, deed, reason))
    _say(f"asked for: {action}", server, run_id, as_json=as_json)


async def _do(instance: str, vps_id: uuid.UUID, act: Act, deed: _Deed, reason: str | None) -> uuid.UUID | None:
    """Do it and record it in one transaction."""
    async with system_session(instance) as session:
        tenant_id = await session.scalar(select(VpsServer.tenant_id).where(VpsServer.id == vps_id))
        if tenant_id is None:
            raise NotFound("There is no such server.")
        run_id = await deed(session, tenant_id)
        await record(session, this_user(), act, {"tenant_id": tenant_id, "vps_id": vps_id}, reason)
        return run_id


def _say(line: str, vps_id: uuid.UUID, run_id: uuid.UUID | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"vps_id": vps_id, "run_id": run_id})
    else:
        print(line)
