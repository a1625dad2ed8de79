"""What an operator does to one server, recorded.

`vps power|rebuild|drain|undrain|remove|drift-policy|renew-certificate|ban|unban|re-enrol`.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json
from control_plane.errors import NotFound
from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.fleet.drift import DriftPolicy, set_drift_policy
from control_plane.operators import admission
from control_plane.operators.acts import Act, Actor, record
from control_plane.provisioning.draining import request_drain, request_undrain
from control_plane.provisioning.power import PowerAction, request_power
from control_plane.provisioning.rebuilding import request_rebuild
from control_plane.provisioning.requests import request_removal
from db.models import VpsServer
from protos.agent.v1.commands_pb2 import Command, IssueCertificate

vps_deed_commands = typer.Typer()

Server = Annotated[uuid.UUID, typer.Argument(metavar="ID", help="The server's id.")]
Reason = Annotated[str | None, typer.Option(help="For people to read; kept with the act.")]
Action = Annotated[PowerAction, typer.Argument(help="`off` and `reset` cut the power at once; drain before.")]
Force = Annotated[bool, typer.Option("--force", help="Do not wait until it is empty: what is in it is lost.")]

T = TypeVar("T")

#: Does something to a server of a tenant; returns the run that does the rest, where there is one to name.
_Deed = Callable[[AsyncSession, uuid.UUID], Awaitable[uuid.UUID | None]]


@vps_deed_commands.command()
def power(
    server: Server, action: Action, reason: Reason = None, as_json: Json = False, instance: Instance = "main"
) -> None:
    """Switch a server's power at its provider, in the background."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> uuid.UUID:
        return await request_power(session, tenant_id=tenant_id, vps_id=server, action=action)

    run_id = asyncio.run(_do(instance, server, Act.POWER, deed, reason))
    _say(f"asked for: {action}", server, run_id, as_json=as_json)


@vps_deed_commands.command()
def rebuild(server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Have a server's system made anew, in the background; its name, addresses and mail stay."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> uuid.UUID:
        return await request_rebuild(session, tenant_id=tenant_id, vps_id=server)

    run_id = asyncio.run(_do(instance, server, Act.REBUILD, deed, reason))
    _say("the server is being rebuilt", server, run_id, as_json=as_json)


@vps_deed_commands.command()
def drain(server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Give a server no new inboxes and no sends, while its Postfix delivers what it has."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> None:
        await request_drain(session, tenant_id=tenant_id, vps_id=server)

    asyncio.run(_do(instance, server, Act.DRAIN, deed, reason))
    _say("the server is being drained", server, None, as_json=as_json)


@vps_deed_commands.command()
def undrain(server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Use a server again that was being drained."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> None:
        await request_undrain(session, tenant_id=tenant_id, vps_id=server)

    asyncio.run(_do(instance, server, Act.UNDRAIN, deed, reason))
    _say("the server is in use again", server, None, as_json=as_json)


@vps_deed_commands.command()
def remove(
    server: Server,
    *,
    force: Force = False,
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Drain a server without inboxes, and delete it once it is empty."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> None:
        await request_removal(session, tenant_id=tenant_id, vps_id=server, force=force)

    asyncio.run(_do(instance, server, Act.REMOVE, deed, reason))
    _say("the server is being removed", server, None, as_json=as_json)


@vps_deed_commands.command()
def drift_policy(
    server: Server,
    policy: Annotated[DriftPolicy, typer.Argument(help="What to do about files that somebody changed.")],
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Have files that somebody edits on the server put right, or only shown."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> None:
        await set_drift_policy(session, tenant_id, server, policy)

    asyncio.run(_do(instance, server, Act.DRIFT_POLICY, deed, reason))
    _say(f"from now on: {policy}", server, None, as_json=as_json)


@vps_deed_commands.command()
def renew_certificate(
    server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main"
) -> None:
    """Have a server ask its certificate authority for another certificate now, whatever it shows."""

    async def deed(session: AsyncSession, tenant_id: uuid.UUID) -> None:
        command = Command(issue_certificate=IssueCertificate(renew=True))
        await request_command(session, CommandOrder(tenant_id, server, command, this_user().name))

    asyncio.run(_do(instance, server, Act.RENEW_CERTIFICATE, deed, reason))
    _say("the server is told; how it stands with its certificate is part of its health", server, None, as_json=as_json)


@vps_deed_commands.command()
def ban(server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Cut a server's link within a second and let it in no more; its Postfix delivers what it has."""
    asyncio.run(_let_in(instance, server, reason, admission.ban))
    _say("the server is banned", server, None, as_json=as_json)


@vps_deed_commands.command()
def unban(server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Let a server in again; start its agent there, which stopped for good: systemctl start penguin-agent."""
    asyncio.run(_let_in(instance, server, reason, admission.unban))
    _say("the server may come in again", server, None, as_json=as_json)


@vps_deed_commands.command("re-enrol")
def re_enrol(server: Server, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Take a server's certificates from it, and print the join token by which it gets one for a new key, once.

    On the server: put the token into /etc/penguin/agent.json, delete /var/lib/penguin-agent/identity, and start
    penguin-agent. Or rebuild the server, where its provider can.
    """
    token = asyncio.run(_let_in(instance, server, reason, admission.re_enrol))
    if as_json:
        print_json({"vps_id": server, "join_token": token})
    else:
        print(token)


async def _let_in(
    instance: str,
    vps_id: uuid.UUID,
    reason: str | None,
    deed: Callable[[AsyncSession, Actor, uuid.UUID, str | None], Awaitable[T]],
) -> T:
    async with system_session(instance) as session:
        return await deed(session, this_user(), vps_id, reason)


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
