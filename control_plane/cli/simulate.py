"""`simulate`: a fleet on this machine, speaking to a hub of its own (tests/simulation)."""

import os
import sys
from typing import Annotated

import typer

from control_plane.cli.output import Json
from control_plane.processes.places import CHECKOUT

#: Connections come from one address, whose ports are 28 thousand.
_MOST_AGENTS = 20_000

simulate_commands = typer.Typer(help="Simulate a fleet, on this machine alone.", no_args_is_help=True)

Count = Annotated[int, typer.Option(min=1, max=_MOST_AGENTS, help="How many agents.")]
Seconds = Annotated[float, typer.Option(min=16, max=600, help="For how long they report, every 15 seconds.")]


@simulate_commands.command()
def agents(count: Count = 1000, seconds: Seconds = 60, as_json: Json = False) -> None:
    """Connect agents to a hub, have them report, kill the hub, see them come back; print what it cost.

    Exit code 3 when this machine has no room for so many.
    """
    command = [sys.executable, "-m", "tests.simulation", "--count", str(count), "--seconds", str(seconds)]
    os.chdir(CHECKOUT)
    # In place of this process, so that a signal reaches who has processes to take down.
    os.execv(sys.executable, [*command, *(["--json"] if as_json else [])])  # noqa: S606 - no shell is wanted
