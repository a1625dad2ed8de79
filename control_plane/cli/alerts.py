"""`alerts`: what is wrong for long enough that somebody should look, and who does."""

import asyncio
import uuid
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.alert_channels import channel_commands, silence_commands
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.clock import utc_now
from control_plane.monitoring.alerts import list_alerts
from control_plane.operators.alerting import acknowledge
from db.models import Alert

alert_commands = typer.Typer(invoke_without_command=True, help="Alerts about servers, and about the installation.")
alert_commands.add_typer(channel_commands, name="channel")
alert_commands.add_typer(silence_commands, name="silence")
_SHOWN = ("id", "severity", "state", "rule", "vps_id", "since", "sentence", "acknowledged_by")


@alert_commands.callback()
def show(
    context: typer.Context,
    *,
    over: Annotated[bool, typer.Option("--over", help="Those that are over, too.")] = False,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """List the alerts that are not over, newest first."""
    if context.invoked_subcommand is not None:
        return
    alerts = asyncio.run(_load(instance, over=over))
    if as_json:
        print_json(alerts)
    elif alerts:
        print_table(alerts)
    else:
        print("Nothing is wrong.")


@alert_commands.command()
def ack(alert: Annotated[uuid.UUID, typer.Argument(help="The alert's id.")], instance: Instance = "main") -> None:
    """Say that you look at it."""
    asyncio.run(_acknowledge(instance, alert))
    say("the alert is acknowledged")


async def _load(instance: str, *, over: bool) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return [_fields(alert) for alert in await list_alerts(session, over=over)]


async def _acknowledge(instance: str, alert_id: uuid.UUID) -> None:
    async with system_session(instance) as session:
        await acknowledge(session, this_user(), alert_id, utc_now())


def _fields(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in _SHOWN}
