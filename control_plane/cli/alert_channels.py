"""`alerts channel` and `alerts silence`: who is told of alerts, and of what nobody is for a while."""

import asyncio
import datetime as dt
import sys
import uuid
from typing import Annotated, Any

import typer

from control_plane.alerts.channels.channels import Kind, NewChannel, list_channels
from control_plane.alerts.silences import Silenced, list_silences
from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.clock import utc_now
from control_plane.operators import alerting
from control_plane.operators.rule_files import RuleFiles
from control_plane.processes.places import state_dir
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.models import AlertChannel, AlertSilence

channel_commands = typer.Typer(no_args_is_help=True, help="Ways to tell somebody of alerts.")
silence_commands = typer.Typer(no_args_is_help=True, help="Of what nobody is told for a while.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The channel's name.")]
_CHANNEL = ("id", "name", "kind", "least_severity", "after_minutes", "created_at")
_SILENCE = ("id", "of_tenant_id", "of_vps_id", "rule", "reason", "created_by", "until")


@channel_commands.command("add")
def add(  # noqa: PLR0917 - each is an option, given by its name
    name: Name,
    kind: Annotated[Kind, typer.Option(help="What the URL is: one of apprise's, or a webhook's.")] = "apprise",
    severity: Annotated[str, typer.Option(help="Told of this and what is graver.")] = "warning",
    after_minutes: Annotated[
        int, typer.Option(min=0, max=10_080, help="Told of what nobody acknowledged for so long; 0: at once.")
    ] = 0,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Add a channel. Its URL is a secret: it is asked for, or read from standard input, and kept sealed."""
    url = typer.prompt("URL", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    new = NewChannel(name, kind, url.strip(), severity, after_minutes)
    channel, secret = asyncio.run(_add(instance, new))
    if as_json:
        print_json(_fields(channel, _CHANNEL) | {"secret": secret})
        return
    say(f"the channel {name} is there; try it: penguin alerts channel test {name}")
    if secret:
        say("this signs its webhooks and cannot be shown again:")
        print(secret)


@channel_commands.command("list")
def show(as_json: Json = False, instance: Instance = "main") -> None:
    """List the channels, without where they lead."""
    _print(
        [_fields(each, _CHANNEL) for each in asyncio.run(_list(instance))], "There are no channels.", as_json=as_json
    )


@channel_commands.command("test")
def try_out(name: Name, instance: Instance = "main") -> None:
    """Have the worker tell a channel that it is tried."""
    notice = asyncio.run(_test(instance, name))
    say(f"the notice {notice} is on its way")


@channel_commands.command("remove")
def remove(name: Name, instance: Instance = "main") -> None:
    """Remove a channel, with what waits for it."""
    asyncio.run(_remove(instance, name))
    say(f"the channel {name} is gone")


@silence_commands.command("add")
def add_silence(  # noqa: PLR0917 - each is an option, given by its name
    reason: Annotated[str, typer.Option(help="Why; for people to read.")],
    hours: Annotated[float, typer.Option(min=0.01, max=720, help="For so long.")],
    server: Annotated[uuid.UUID | None, typer.Option(help="About this server alone.")] = None,
    tenant: Annotated[uuid.UUID | None, typer.Option(help="About this tenant's servers alone.")] = None,
    rule: Annotated[str | None, typer.Option(help="Of this rule alone.")] = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Have nobody told of what matches; what is still wrong when it ends is told then."""
    made = asyncio.run(_silence(instance, Silenced(tenant, server, rule), dt.timedelta(hours=hours), reason))
    if as_json:
        print_json(_fields(made, _SILENCE))
    else:
        say(f"silence {made.id} until {made.until:%Y-%m-%d %H:%M} UTC")


@silence_commands.command("list")
def show_silences(as_json: Json = False, instance: Instance = "main") -> None:
    """List the silences in force."""
    rows = [_fields(each, _SILENCE) for each in asyncio.run(_silences(instance))]
    _print(rows, "Nothing is silenced.", as_json=as_json)


@silence_commands.command("end")
def end(
    silence: Annotated[uuid.UUID, typer.Argument(metavar="ID", help="The silence's id.")], instance: Instance = "main"
) -> None:
    """Take a silence back."""
    asyncio.run(_end(instance, silence))
    say("the silence is over")


async def _add(instance: str, new: NewChannel) -> tuple[AlertChannel, str | None]:
    sealer = Sealer.of_file(Settings(state_dir=state_dir(instance)).sealing_key_file)
    async with system_session(instance) as session:
        return await alerting.add_channel(session, this_user(), sealer, new)


async def _list(instance: str) -> list[AlertChannel]:
    async with system_session(instance) as session:
        return list(await list_channels(session))


async def _test(instance: str, name: str) -> uuid.UUID:
    async with system_session(instance) as session:
        return await alerting.test_channel(session, this_user(), name)


async def _remove(instance: str, name: str) -> None:
    async with system_session(instance) as session:
        await alerting.remove_channel(session, this_user(), name)


async def _silence(instance: str, what: Silenced, life: dt.timedelta, reason: str) -> AlertSilence:
    now, rules = utc_now(), RuleFiles.of(Settings(state_dir=state_dir(instance)))
    async with system_session(instance) as session:
        return await alerting.silence(session, this_user(), rules, what, now + life, reason=reason, now=now)


async def _silences(instance: str) -> list[AlertSilence]:
    async with system_session(instance) as session:
        return list(await list_silences(session, utc_now()))


async def _end(instance: str, silence_id: uuid.UUID) -> None:
    async with system_session(instance) as session:
        await alerting.end_silence(session, this_user(), silence_id)


def _print(rows: list[dict[str, Any]], nothing: str, *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        print(nothing)


def _fields(row: AlertChannel | AlertSilence, shown: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in shown}
