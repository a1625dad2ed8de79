"""`python -m tests.faults`: run seeds and print the counts; `penguin test faults` starts it."""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

from tests.faults.blows import STRIKABLE
from tests.faults.ground import standing_ground
from tests.faults.plan import draw
from tests.faults.run import Outcome, run_plan


def main() -> int:
    """Run, print, and return 1 when the guarantee was broken."""
    arguments = _parse()
    result = asyncio.run(_run(arguments))
    print(json.dumps(result, indent=2))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="penguin test faults")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    totals: Counter[str] = Counter()
    started = time.monotonic()
    async with standing_ground() as ground:
        print(f"ground stands after {time.monotonic() - started:.1f} s", file=sys.stderr)
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            plan = draw(seed, arguments.messages, STRIKABLE)
            outcome = await run_plan(ground, plan)
            totals.update({"runs": 1, **outcome.verdict.counts()})
            say(seed, plan, outcome)
    return dict(totals)


def say(seed, plan, outcome: Outcome) -> None:
    blows = ", ".join(f"{blow.fault}@{blow.at}/{blow.seconds}" for blow in plan.blows)
    print(
        f"seed {seed}: {outcome.seconds:.1f} s ({outcome.settling_seconds:.1f} settling) [{blows}] {outcome.verdict.counts()} unanswered {outcome.unanswered} refused {outcome.refused}",
        file=sys.stderr,
        flush=True,
    )
    if not outcome.verdict.holds:
        print(outcome.verdict, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
