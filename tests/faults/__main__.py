"""`python -m tests.faults`, which `penguin test faults` starts: run seeds, hunt the mutants, and count.

Prints one JSON object with `--json`, and a line for each run on standard error. Exit status 1: the guarantee was
broken, or a mutant got away. Needs root, for the local servers.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.faults.blows import STRIKABLE
from tests.faults.ground import Ground, standing_ground
from tests.faults.hunts import AIMS, aim_at_nothing, hunt_down
from tests.faults.plan import Plan, draw
from tests.faults.run import Outcome, run_plan

_SEEDS = 3
_MESSAGES = 100


@dataclass(slots=True)
class Report:
    """What the runs came to."""

    counts: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    mutants: dict[str, bool] = field(default_factory=dict)

    def add(self, plan: Plan, outcome: Outcome) -> None:
        """Count a run, and keep what is needed to look into one that failed."""
        self.counts.update({"runs": 1, **outcome.verdict.counts()})
        self.struck.update(outcome.struck)
        if not outcome.verdict.holds or outcome.refused:
            found = {"seed": plan.seed, "messages": len(plan.orders), "refused": outcome.refused}
            self.failures.append(found | {"faults": _blows(plan), "verdict": outcome.verdict.wrong()})

    @property
    def holds(self) -> bool:
        """Whether the guarantee was kept and every mutant was caught."""
        return not self.failures and all(self.mutants.values())

    def as_json(self) -> dict[str, Any]:
        """Return the one object."""
        return {**self.counts, "mutants": self.mutants, "faults": self.struck, "failures": self.failures}


def main() -> int:
    """Run and print."""
    arguments = _parse()
    report = asyncio.run(_run(arguments))
    if arguments.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print(", ".join(f"{name} {count}" for name, count in report.counts.items()))
    return 0 if report.holds else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="penguin test faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, help=f"how many runs, each with a seed of its own ({_SEEDS})")
    parser.add_argument("--seed", type=int, help="the first seed; alone, that one is run again, and nothing else")
    parser.add_argument("--messages", type=int, default=_MESSAGES, help=f"messages of each run ({_MESSAGES})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> Report:
    report = Report()
    replay = arguments.seed is not None and arguments.seeds is None
    first, count = arguments.seed or 1, 1 if replay else arguments.seeds or _SEEDS
    async with standing_ground() as ground:
        for seed in range(first, first + count):
            plan = draw(seed, arguments.messages, STRIKABLE)
            outcome = await run_plan(ground, plan)
            report.add(plan, outcome)
            _say(f"seed {seed}, {outcome.seconds:.0f} s: {', '.join(_blows(plan))}: {outcome.verdict.summary()}")
        for name in () if replay else AIMS:
            report.mutants[name] = await _caught(ground, name)
            _say(f"mutant {name}: {'caught' if report.mutants[name] else 'NOT CAUGHT'}")
    return report


async def _caught(ground: Ground, name: str) -> bool:
    """Whether what is aimed at a mutant breaks it, and breaks nothing where there is no mutant."""
    spared = await aim_at_nothing(ground, name)
    struck = await hunt_down(ground, name)
    _say(f"mutant {name}: with it {struck.summary()}; without it {spared.summary()}")
    return spared.holds and not struck.holds


def _blows(plan: Plan) -> list[str]:
    return [f"{blow.fault} at {blow.at} for {blow.seconds:g} s" for blow in plan.blows]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
