"""`fleet`: how all servers are, on one page; by their checks, see fleet_health.py, and one alone, fleet_server.py."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from control_plane.cli.fleet_configuration import configuration
from control_plane.cli.fleet_health import (
    InState,
    OfCheck,
    Provider,
    Region,
    Tenant,
    Version,
    Where,
    print_fleet,
    top,
)
from control_plane.cli.fleet_packages import packages
from control_plane.cli.fleet_server import show
from control_plane.cli.healing import healing_commands
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json
from control_plane.cli.upgrades import upgrade
from control_plane.clock import utc_now
from control_plane.fleet.servers import FleetServer, fleet_overview
from control_plane.monitoring.fleet import Wanted

_LONG_LINE = 1000
_COLUMNS = (
    "server",
    "tenant",
    "state",
    "mail server",
    "reachable",
    "clock",
    "agent",
    "waiting",
    "in Redis",
    "Postfix",
    "report",
)


fleet_commands = typer.Typer(
    invoke_without_command=True,
    help="How all servers are; alone, it lists state, mail server, agent, queue and report.",
)
fleet_commands.command("show")(show)
fleet_commands.command("top")(top)
fleet_commands.command("upgrade")(upgrade)
fleet_commands.command("configuration")(configuration)
fleet_commands.command("packages")(packages)
fleet_commands.add_typer(healing_commands, name="healing")


@fleet_commands.callback()
def overview(
    context: typer.Context,
    *,
    where: Where = None,
    tenant: Tenant = None,
    provider: Provider = None,
    region: Region = None,
    state: InState = None,
    version: Version = None,
    check: OfCheck = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """List the servers: state, mail server, agent, queue, age of the last report; some of them, worst first."""
    if context.invoked_subcommand is not None:
        return
    wanted = Wanted(tenant, provider, region, state, version, check, where)
    if wanted == Wanted():
        fleet(as_json=as_json, instance=instance)
    else:
        print_fleet(instance, wanted, as_json=as_json)


def fleet(*, as_json: bool = False, instance: str = "main") -> None:
    """Print every server that is not deleted."""
    servers = asyncio.run(_load(instance))
    if as_json:
        print_json([_fields(server) for server in servers])
    elif servers:
        _print_table(servers)
    else:
        print("There are no servers yet.")


async def _load(instance: str) -> Sequence[FleetServer]:
    async with system_session(instance) as session:
        return sorted(await fleet_overview(session), key=lambda server: server.health.hostname)


def _fields(server: FleetServer) -> dict[str, Any]:
    health = server.health
    fields = {name: value for name, value in asdict(health).items() if name != "report"}
    return {
        **fields,
        "report": health.report_fields(),
        "report_age_seconds": _age(health.received_at),
        "queue": {"waiting": server.waiting, "queued": server.queued, "postfix": health.postfix_queue},
    }


def _print_table(servers: Sequence[FleetServer]) -> None:
    table = Table(*_COLUMNS, box=None)
    for server in servers:
        table.add_row(*_row(server))
    # Without a terminal, lines are as long as they are.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _LONG_LINE).print(table)


def _row(server: FleetServer) -> tuple[str, ...]:
    health = server.health
    mail = health.mail_server_status
    if health.applied_version != health.desired_version:
        mail += f" ({health.applied_version} of {health.desired_version})"
    age = _age(health.received_at)
    return (
        *(health.hostname, str(health.tenant_id), health.status, mail, "yes" if health.reachable else "no"),
        "-" if health.clock_offset_ms is None else f"{health.clock_offset_ms / 1000:+.1f} s",
        *(health.agent_version or "-", str(server.waiting), str(server.queued)),
        *(
            "-" if health.postfix_queue is None else str(health.postfix_queue),
            "-" if age is None else f"{age:.0f} s ago",
        ),
    )


def _age(received_at: datetime | None) -> float | None:
    return None if received_at is None else (utc_now() - received_at).total_seconds()
