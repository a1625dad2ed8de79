"""`bench`: measure a part of the product beside its limits and its peers (tests/bench)."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from control_plane.cli.output import Json
from control_plane.processes.places import CHECKOUT


class Bench(StrEnum):
    """What can be measured."""

    QUEUE = "queue"
    ACCEPT = "accept"
    BACKLOG = "backlog"
    INJECT = "inject"
    POSTFIX = "postfix"
    RELAY = "relay"
    LATENCY = "latency"
    PROVISIONING = "provisioning"
    FLEET = "fleet"
    API = "api"
    ROTATION = "rotation"


Rounds = Annotated[
    int | None, typer.Option(min=1, max=50, help="How often each thing is measured, in turn; 5, of the api 1.")
]
Messages = Annotated[int, typer.Option(min=1, max=50_000_000, help="How many are stored when the api is measured.")]


def bench(name: Bench, rounds: Rounds = None, messages: Messages = 5_000_000, as_json: Json = False) -> None:
    """Measure a thing, its limit and its peers in turn, in one run, and print their ratios."""
    # A round of the api's takes seven minutes.
    rounds = rounds or (1 if name is Bench.API else 5)
    command = [sys.executable, "-m", "tests.bench", name.value, "--rounds", str(rounds), "--messages", str(messages)]
    os.chdir(CHECKOUT)
    # In place of this process, so that a signal reaches who has servers to take down.
    os.execv(sys.executable, [*command, *(["--json"] if as_json else [])])  # noqa: S606 - no shell is wanted
