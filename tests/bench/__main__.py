"""Run one bench: `python -m tests.bench NAME [--rounds N] [--json]`; `./penguin bench` is the way to it.

A bench measures a thing, its limit and its peers in turn, round after round, and prints ratios. What is slower by the
day or the machine is slower on both sides of each.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from tests.bench import accept, backlog, inject, latency, postfix, queue, relay
from tests.bench.machine import machine, versions
from tests.bench.report import Rounds, table

BENCHES: dict[str, Callable[[int], Awaitable[Rounds]]] = {
    "queue": queue.measure,
    "accept": accept.measure,
    "backlog": backlog.measure,
    "inject": inject.measure,
    "postfix": postfix.measure,
    "relay": relay.measure,
    "latency": latency.measure,
}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="penguin bench")
    arguments.add_argument("name", choices=BENCHES)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", action="store_true")
    wish = arguments.parse_args()
    described, started = machine(), time.monotonic()
    result = asyncio.run(_measure(wish.name, wish.rounds))
    report = {
        "bench": wish.name,
        "rounds": wish.rounds,
        "seconds": round(time.monotonic() - started, 1),
        **result.as_json(),
        "versions": versions(),
        "machine": described,
    }
    print(json.dumps(report, indent=2, ensure_ascii=False) if wish.json else table(report))
    sys.stdout.flush()


async def _measure(name: str, rounds: int) -> Rounds:
    return await BENCHES[name](rounds)


if __name__ == "__main__":
    main()
