"""`fleet top`, and `fleet` with a question: how servers are, by their checks."""

import asyncio
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, print_json
from control_plane.monitoring.fleet import Fleet, Server, Wanted, fleet_health
from control_plane.monitoring.states import Check, State

Where = Annotated[
    str | None,
    typer.Option("--where", help="Only servers of which this holds: deferred_ratio > 0.2 and provider = 'google'."),
]
Tenant = Annotated[uuid.UUID | None, typer.Option(help="Only this tenant's servers.")]
Provider = Annotated[str | None, typer.Option(help="Only servers at this provider.")]
Region = Annotated[str | None, typer.Option(help="Only servers in this region.")]
InState = Annotated[State | None, typer.Option("--state", help="Only servers that are so.")]
Version = Annotated[str | None, typer.Option(help="Only servers whose agent is this release.")]
OfCheck = Annotated[Check | None, typer.Option("--check", help="Only servers of which this check warns or fails.")]
_COLUMNS = ("server", "state", "load", "disk", "queue", "deferred", "agent", "what is wrong")
_LONG_LINE = 1000
_COLOURS = {"fail": "red", "warn": "yellow", "unknown": "cyan", "ok": "green"}


def top(
    *,
    where: Where = None,
    tenant: Tenant = None,
    provider: Provider = None,
    region: Region = None,
    state: InState = None,
    version: Version = None,
    check: OfCheck = None,
    seconds: Annotated[float, typer.Option(min=1, help="Between two looks.")] = 5,
    rounds: Annotated[int, typer.Option(min=0, help="Looks before it ends; 0 for no end.")] = 0,
    instance: Instance = "main",
) -> None:
    """Show the worst servers, again and again, until Ctrl-C."""
    wanted = Wanted(tenant, provider, region, state, version, check, where)
    try:
        asyncio.run(_watch(instance, wanted, seconds, rounds))
    except KeyboardInterrupt:
        return


def print_fleet(instance: str, wanted: Wanted, *, as_json: bool) -> None:
    """Print the servers that are asked for, worst first."""
    fleet = asyncio.run(load_fleet(instance, wanted))
    if as_json:
        print_json({"totals": fleet.totals, "servers": [asdict(server) for server in fleet.servers]})
        return
    # Without a terminal, lines are as long as they are.
    Console(highlight=False, width=None if sys.stdout.isatty() else _LONG_LINE).print(as_table(fleet))


async def load_fleet(instance: str, wanted: Wanted, limit: int = 500) -> Fleet:
    """Ask. Raises `InvalidInput` for a question of no sense."""
    async with system_session(instance) as session:
        return await fleet_health(session, wanted, limit)


def as_table(fleet: Fleet) -> Group:
    """Return the totals and a line for each server."""
    table = Table(*_COLUMNS, box=None)
    for server in fleet.servers:
        table.add_row(*_row(server))
    totals = ", ".join(f"{count} {state}" for state, count in fleet.totals.items())
    return Group(Text(totals), table)


def _row(server: Server) -> Sequence[Text]:
    metrics = server.metrics
    cells = (
        server.hostname,
        server.state,
        _number(metrics.get("load_1m"), "{:.2f}"),
        _number(metrics.get("disk_used_ratio"), "{:.0%}"),
        _number(metrics.get("queue_deferred"), "{:.0f}"),
        _number(metrics.get("deferred_ratio"), "{:.0%}"),
        server.agent_version or "-",
        " ".join(each.sentence for each in server.wrong if each.state != "unknown") or "-",
    )
    return [Text(cell, _COLOURS[server.state] if place == 1 else "") for place, cell in enumerate(cells)]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


async def _watch(instance: str, wanted: Wanted, seconds: float, rounds: int) -> None:
    looks = 0
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            live.update(as_table(await load_fleet(instance, wanted, limit=live.console.height)), refresh=True)
            looks += 1
            if looks == rounds:
                return
            await asyncio.sleep(seconds)
