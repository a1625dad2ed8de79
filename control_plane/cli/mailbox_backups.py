"""`backup mailboxes`: copies of what is in tenants' mailboxes, made by their servers."""

import asyncio
import datetime as dt
import json
import os
import secrets
import uuid
from collections.abc import Callable
from typing import Annotated

import typer
from sqlalchemy import select

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say, tell_outcome
from control_plane.cli.tables import print_table
from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.fleet.commands import CommandOrder, CommandState, command_state, request_command
from control_plane.fleet.mail_backups import Target, drop_target, set_target
from control_plane.fleet.reports import parse_report
from control_plane.operators.acts import Act, record
from control_plane.processes.places import state_dir
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.models import VpsReport, VpsServer
from protos.agent.v1.commands_pb2 import BackUpMail, Command, ListMailBackups, RestoreMail
from protos.agent.v1.telemetry_pb2 import MailBackupStatus

mailbox_commands = typer.Typer(no_args_is_help=True, help="Backups of tenants' mailboxes, made by their servers.")

_PASSWORD = "PENGUIN_MAIL_BACKUP_PASSWORD"  # noqa: S105 - the variable's name
_REPOSITORY = "PENGUIN_MAIL_BACKUP_REPOSITORY"
_POLL_SECONDS = 1.0
#: To be told of the command, and for what it asks for to be done.
_COMMAND_LIFE = dt.timedelta(seconds=90)
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
    password = "" if off else os.environ.get(_PASSWORD) or secrets.token_urlsafe(32)
    place = None if off else Target(repository, password, _credentials(credential or []))
    servers = asyncio.run(_set(instance, tenant, place))
    is_new = place is not None and _PASSWORD not in os.environ
    if as_json:
        print_json({"servers": servers, "password": password if is_new else None})
        return
    say(f"{servers} servers {'back their mailboxes up there' if place else 'back nothing up any more'}")
    if is_new:
        print(password)
        say("that is the backups' password; keep it elsewhere: who loses it has no backups")


@mailbox_commands.command()
def run(server: Server, as_json: Json = False, instance: Instance = "main") -> None:
    """Have a server back all its mailboxes up now, and wait for what comes of it."""
    before = asyncio.run(_told(instance, server))
    asyncio.run(_ask(instance, server, Command(back_up_mail=BackUpMail())))
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
    asked = ListMailBackups(address=inbox, server=str(from_server or ""))
    done = asyncio.run(_ask(instance, server, Command(list_mail_backups=asked)))
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
    asked = RestoreMail(address=inbox, snapshot=snapshot, server=str(from_server or ""), in_place=in_place)
    command_id = str(asyncio.run(_ask(instance, server, Command(restore_mail=asked))).id)
    told = _wait(instance, server, lambda now: now.restore.id == command_id).restore
    tell_outcome(ok=told.ok, sentence=told.detail, as_json=as_json)


def _credentials(names: list[str]) -> dict[str, str]:
    if missing := [name for name in names if not os.environ.get(name)]:
        raise InvalidInput(f"the environment has no {missing[0]}")
    return {name: os.environ[name] for name in names}


async def _set(instance: str, tenant_id: uuid.UUID, place: Target | None) -> int:
    sealer = Sealer.of_file(Settings(state_dir=state_dir(instance)).sealing_key_file)
    async with system_session(instance) as session:
        subject = {"tenant_id": tenant_id, "backed_up": place is not None}
        await record(session, this_user(), Act.MAIL_BACKUPS, subject)
        if place is None:
            return await drop_target(session, tenant_id)
        return await set_target(session, sealer, tenant_id, place)


async def _ask(instance: str, vps_id: uuid.UUID, command: Command) -> CommandState:
    """Ask a server and return its answer. Raises `NotFound` and `Conflict` when it did not take the command."""
    async with system_session(instance) as session:
        tenant_id = await session.scalar(select(VpsServer.tenant_id).where(VpsServer.id == vps_id))
        if tenant_id is None:
            raise NotFound(f"there is no server {vps_id}")
        order = CommandOrder(tenant_id, vps_id, command, f"operator {this_user().name}", _COMMAND_LIFE)
        command_id = await request_command(session, order)
    while True:
        async with system_session(instance) as session:
            state = await command_state(session, tenant_id, command_id)
        if state.state == "done":
            return state
        if state.is_over:
            raise Conflict(f"{state.state}: {state.detail}")
        await asyncio.sleep(_POLL_SECONDS)


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
