"""`backup mailboxes`: copies of what is in tenants' mailboxes, made by their servers."""

import asyncio
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy import select

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say, tell_outcome
from control_plane.cli.tables import print_table
from control_plane.cli.vps_commands import ask_server, await_outcome
from control_plane.errors import Conflict, InvalidInput
from control_plane.fleet.commands import CommandState
from control_plane.fleet.mail_backups import ShownTarget, TargetSet, WantedTarget, show_target
from control_plane.fleet.reports import parse_report
from control_plane.operators import mail_backups
from control_plane.operators.server_commands import CommandKind, Wanted
from control_plane.processes.places import state_dir
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.models import VpsReport
from protos.agent.v1.telemetry_pb2 import MailBackupStatus

mailbox_commands = typer.Typer(no_args_is_help=True, help="Backups of tenants' mailboxes, made by their servers.")

_PASSWORD = "PENGUIN_MAIL_BACKUP_PASSWORD"  # noqa: S105 - the variable's name
_REPOSITORY = "PENGUIN_MAIL_BACKUP_REPOSITORY"
_POLL_SECONDS = 1.0
#: For what a command asks for to be done.
_PATIENCE_SECONDS = 3600.0

Server = Annotated[uuid.UUID, typer.Option(help="The server that has the mailbox.")]
From = Annotated[
    uuid.UUID | None, typer.Option("--from-server", help="The server that saved it; the one that has it when left out.")
]


@mailbox_commands.command()
def target(
    tenant: Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")],
    *,
    repository: Annotated[
        str, typer.Option(envvar=_REPOSITORY, help="rest:https://…, s3:https://…, b2:…, azure:…, /mnt/… or /srv/…")
    ] = "",
    credential: Annotated[
        list[str] | None,
        typer.Option(help="A variable of this command's environment that opens the place, such as AWS_ACCESS_KEY_ID."),
    ] = None,
    off: Annotated[bool, typer.Option(help="Back nothing up any more.")] = False,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Say where a tenant's mailboxes go, encrypted with PENGUIN_MAIL_BACKUP_PASSWORD, or else a new password."""
    if off == bool(repository):
        raise InvalidInput("say either --repository or --off")
    wanted = WantedTarget(repository, _credentials(credential or []), os.environ.get(_PASSWORD) or None)
    done = asyncio.run(_drop(instance, tenant) if off else _set(instance, tenant, wanted))
    if as_json:
        print_json({"servers": done.servers, "password": done.new_password})
        return
    say(f"{done.servers} servers {'back nothing up any more' if off else 'back their mailboxes up there'}")
    if done.new_password:
        print(done.new_password)
        say("that is the backups' password; keep it elsewhere: who loses it has no backups")


@mailbox_commands.command()
def show(
    tenant: Annotated[uuid.UUID, typer.Argument(help="The tenant's id.")],
    *,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Show where a tenant's mailboxes go, without what opens it."""
    shown = asdict(asyncio.run(_show(instance, tenant)))
    if as_json:
        print_json(shown)
    else:
        print_table([shown])


@mailbox_commands.command()
def run(server: Server, as_json: Json = False, instance: Instance = "main") -> None:
    """Have a server back all its mailboxes up now, and wait for what comes of it."""
    before = asyncio.run(_told(instance, server))
    asyncio.run(_ask(instance, server, Wanted(CommandKind.BACK_UP_MAIL)))
    told = _wait(instance, server, lambda now: now.ended_ms > before.ended_ms)
    tell_outcome(ok=told.good_ms == told.ended_ms, sentence=told.detail, as_json=as_json)


@mailbox_commands.command("list")
def list_backups(
    server: Server,
    inbox: Annotated[str, typer.Argument(help="The mailbox's address; all when left out.")] = "",
    from_server: From = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """List what backups there are of a server's mailboxes."""
    wanted = Wanted(CommandKind.LIST_MAIL_BACKUPS, inbox=inbox or None, from_server=from_server)
    done = asyncio.run(_ask(instance, server, wanted))
    rows = json.loads(done.output or "[]")
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        print("There are no backups.")


@mailbox_commands.command()
def restore(
    inbox: Annotated[str, typer.Argument(help="The mailbox's address.")],
    *,
    server: Server,
    snapshot: Annotated[str, typer.Option(help="A snapshot's id; the newest when left out.")] = "",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Into the mailbox's own folders, and only what is in none of them.")
    ] = False,
    from_server: From = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Bring a mailbox back into a folder Restored/<day>, or in place, and wait for what comes of it."""
    wanted = Wanted(
        CommandKind.RESTORE_MAIL, inbox=inbox, snapshot=snapshot or None, from_server=from_server, in_place=in_place
    )
    command_id = str(asyncio.run(_ask(instance, server, wanted)).id)
    told = _wait(instance, server, lambda now: now.restore.id == command_id).restore
    tell_outcome(ok=told.ok, sentence=told.detail, as_json=as_json)


def _credentials(names: list[str]) -> dict[str, str]:
    if missing := [name for name in names if not os.environ.get(name)]:
        raise InvalidInput(f"the environment has no {missing[0]}")
    return {name: os.environ[name] for name in names}


async def _set(instance: str, tenant_id: uuid.UUID, wanted: WantedTarget) -> TargetSet:
    sealer = Sealer.of_file(Settings(state_dir=state_dir(instance)).sealing_key_file)
    async with system_session(instance) as session:
        return await mail_backups.set_target(session, this_user(), sealer, tenant_id, wanted)


async def _drop(instance: str, tenant_id: uuid.UUID) -> TargetSet:
    async with system_session(instance) as session:
        return TargetSet(await mail_backups.drop_target(session, this_user(), tenant_id))


async def _show(instance: str, tenant_id: uuid.UUID) -> ShownTarget:
    async with system_session(instance) as session:
        return await show_target(session, tenant_id)


async def _ask(instance: str, vps_id: uuid.UUID, wanted: Wanted) -> CommandState:
    """Ask a server and return its answer; raise `Conflict` when it did not take the command."""
    asked = await ask_server(instance, vps_id, wanted)
    if asked.command_id is None:
        raise RuntimeError("only the rotation of a key is no command")
    state = await await_outcome(instance, vps_id, asked.command_id)
    if state.state != "done":
        raise Conflict(f"{state.state}: {state.detail}")
    return state


async def _told(instance: str, vps_id: uuid.UUID) -> MailBackupStatus:
    async with system_session(instance) as session:
        report = (await session.scalars(select(VpsReport).where(VpsReport.vps_id == vps_id))).one_or_none()
        return MailBackupStatus() if report is None else parse_report(json.dumps(report.report)).mail_backup


def _wait(instance: str, vps_id: uuid.UUID, is_over: Callable[[MailBackupStatus], bool]) -> MailBackupStatus:
    """Return what the server reports once that is the end of what was asked; raise `Conflict` when it takes an hour."""

    async def wait() -> MailBackupStatus:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                if is_over(told := await _told(instance, vps_id)):
                    return told
                await asyncio.sleep(_POLL_SECONDS)

    try:
        return asyncio.run(wait())
    except TimeoutError:
        raise Conflict("it goes on, and takes longer than is waited for here") from None
