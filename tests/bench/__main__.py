"""Run one bench: `python -m tests.bench NAME [--rounds N] [--messages N] [--json]`; `./penguin bench` is the way to it.

A bench measures a thing, its limit and its peers in turn, round after round, and prints ratios. What is slower by the
day or the machine is slower on both sides of each.
"""

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from control_plane.errors import PenguinError
from control_plane.processes.interruptible import run_interruptible
from tests.bench import accept, api, backlog, fleet, inject, latency, postfix, provisioning, queue, relay, rotation
from tests.bench.machine import ProcessorTime, machine, versions
from tests.bench.report import Rounds, table

BENCHES: dict[str, Callable[[int], Awaitable[Rounds]]] = {
    "queue": queue.measure,
    "accept": accept.measure,
    "backlog": backlog.measure,
    "inject": inject.measure,
    "postfix": postfix.measure,
    "relay": relay.measure,
    "latency": latency.measure,
    "provisioning": provisioning.measure,
    "fleet": fleet.measure,
    "rotation": rotation.measure,
}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="penguin bench")
    arguments.add_argument("name", choices=[*BENCHES, "api"])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--messages", type=int, default=5_000_000)
    arguments.add_argument("--json", action="store_true")
    wish = arguments.parse_args()
    # Ctrl-C, or an end from outside, takes servers and daemons down before it ends us.
    try:
        sys.exit(run_interruptible(_run(wish.name, _measured(wish), wish.rounds, as_json=wish.json)))
    except PenguinError as error:
        sys.exit(f"penguin: {error}")


def _measured(wish: argparse.Namespace) -> Callable[[int], Awaitable[Rounds]]:
    return partial(api.measure, messages=wish.messages) if wish.name == "api" else BENCHES[wish.name]


async def _run(name: str, measured: Callable[[int], Awaitable[Rounds]], rounds: int, *, as_json: bool) -> None:
    described, started, processors = machine(), time.monotonic(), ProcessorTime.now()
    result = await measured(rounds)
    described["taken_by_its_host"] = f"{processors.share_taken_since():.1%}"
    report = {
        "bench": name,
        "rounds": rounds,
        "seconds": round(time.monotonic() - started, 1),
        **result.as_json(),
        "versions": versions(),
        "machine": described,
    }
    print(json.dumps(report, indent=2, ensure_ascii=False) if as_json else table(report), flush=True)


if __name__ == "__main__":
    main()
