"""`python -m tests.provisioning_faults`, which `penguin test provisioning-faults` starts: the crash matrix.

Prints one JSON object with `--json`, and what fails, with how to walk through it again, on standard error. Exit status
1: a server was made twice, left behind or not made, or a mutant got away.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from typing import Any

from tests.integration.database import cluster_with_template
from tests.provisioning_faults.clouds import CLOUDS
from tests.provisioning_faults.life import Verdict
from tests.provisioning_faults.matrix import Report, all_cases, ground_of, walk
from tests.provisioning_faults.mutants import MUTANTS, caught
from tests.provisioning_faults.plan import Case, parse_case, sample


def main() -> int:
    """Run and print."""
    arguments = _parse()
    # What the struck workers say is wanted for one case alone.
    logging.basicConfig(level=logging.INFO if arguments.case else logging.CRITICAL, format="%(name)s: %(message)s")
    report, mutants, seconds = asyncio.run(_run(arguments))
    answer: dict[str, Any] = {
        **report.counts,
        "providers": dict(report.by_cloud),
        "mutants": mutants,
        "seconds": round(seconds, 1),
        "failures": report.failures,
    }
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in answer.items() if name != "failures"))
    return 0 if report.holds and all(mutants.values()) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="penguin test provisioning-faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--provider", action="append", choices=sorted(CLOUDS), help="this one alone; may be repeated")
    parser.add_argument("--cases", type=int, help="so many, drawn by the seed; all when left out")
    parser.add_argument("--seed", type=int, default=1, help="which are drawn, and in which order all are walked")
    parser.add_argument("--case", help="one, by its name in a failure, with what the workers say")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> tuple[Report, dict[str, bool], float]:
    begun = time.monotonic()
    with cluster_with_template() as cluster:
        async with ground_of(cluster) as ground:
            if arguments.case:
                return await walk(ground, [parse_case(arguments.case)], _tell), {}, time.monotonic() - begun
            every = await all_cases(ground, arguments.provider or tuple(CLOUDS))
            todo = sample(every, arguments.seed, arguments.cases or len(every))
            report = await walk(ground, todo, _tell)
            mutants = {name: await caught(ground, name) for name in MUTANTS}
            return report, mutants, time.monotonic() - begun


def _tell(case: Case, verdict: Verdict) -> None:
    if verdict.wrong:
        print(f"{case.name} ({case.where}): {'; '.join(verdict.wrong)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
