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

from control_plane.embedded.postgres import EmbeddedPostgres
from tests.integration.database import cluster_with_template
from tests.provisioning_faults.clouds import CLOUDS
from tests.provisioning_faults.life import Ground, Verdict
from tests.provisioning_faults.matrix import Named, Report, all_cases, ground_of, walk
from tests.provisioning_faults.mutants import MUTANTS, caught
from tests.provisioning_faults.plan import Scenario, parse_case, sample
from tests.provisioning_faults.process_life import parse_process_case
from tests.provisioning_faults.processes import CLOUDS_OF_PROCESSES, process_cases, walk_processes

#: Of those with worker processes, when nothing is said.
_PROCESSES = 40


def main() -> int:
    """Run and print."""
    arguments = _parse()
    # What the struck workers say is wanted for one case alone.
    logging.basicConfig(level=logging.INFO if arguments.case else logging.CRITICAL, format="%(name)s: %(message)s")
    begun = time.monotonic()
    report, processes, mutants = asyncio.run(_run(arguments))
    answer: dict[str, Any] = {
        **{name: report.counts[name] + processes.counts[name] for name in report.counts},
        "with_processes": dict(processes.counts),
        "providers": dict(report.by_cloud + processes.by_cloud),
        "mutants": mutants,
        "seconds": round(time.monotonic() - begun, 1),
        "failures": [*report.failures, *processes.failures],
    }
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in answer.items() if name != "failures"))
    return 0 if answer["runs"] and not answer["failures"] and all(mutants.values()) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="penguin test provisioning-faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--provider", action="append", choices=sorted(CLOUDS), help="this one alone; may be repeated")
    parser.add_argument(
        "--scenario", action="append", choices=[str(each) for each in Scenario], help="this one alone; may be repeated"
    )
    parser.add_argument("--cases", type=int, help="so many, drawn by the seed; all when left out")
    parser.add_argument(
        "--processes", type=int, default=_PROCESSES, help="so many with worker processes, drawn by the seed"
    )
    parser.add_argument("--seed", type=int, default=1, help="which are drawn, and in which order all are walked")
    parser.add_argument("--case", help="one, by its name in a failure, with what the workers say")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> tuple[Report, Report, dict[str, bool]]:
    clouds = arguments.provider or tuple(CLOUDS)
    with cluster_with_template() as cluster:
        async with ground_of(cluster) as ground:
            if arguments.case:
                return *await _walk_one(cluster, ground, arguments.case), {}
            scenarios = [Scenario(each) for each in arguments.scenario or Scenario]
            every = await all_cases(ground, clouds, scenarios)
            report = await walk(ground, sample(every, arguments.seed, arguments.cases or len(every)), _tell)
            reached = [cloud for cloud in clouds if cloud in CLOUDS_OF_PROCESSES]
            points = await process_cases(ground, reached, scenarios) if arguments.processes else []
            processes = await walk_processes(cluster, sample(points, arguments.seed, arguments.processes), _tell)
            return report, processes, {name: await caught(ground, name) for name in MUTANTS}


async def _walk_one(cluster: EmbeddedPostgres, ground: Ground, name: str) -> tuple[Report, Report]:
    case = parse_process_case(name)
    if case is not None:
        return Report(), await walk_processes(cluster, [case], _tell)
    return await walk(ground, [parse_case(name)], _tell), Report()


def _tell(case: Named, verdict: Verdict) -> None:
    if verdict.wrong:
        print(f"{case.name} ({case.where}): {'; '.join(verdict.wrong)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
