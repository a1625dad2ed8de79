"""Which points worker processes are struck at, and the walk through them.

Points are those that a life within one process shows: each step's beginning and record, each call, fence and commit.
There a worker is ended before, after the call or before the record, or stopped and let go on.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence

from control_plane.embedded.postgres import EmbeddedPostgres
from tests.provisioning_faults.clouds import CLOUDS
from tests.provisioning_faults.life import Ground, Verdict, live
from tests.provisioning_faults.matrix import Report
from tests.provisioning_faults.plan import PAUSES, Case, Scenario
from tests.provisioning_faults.process_life import ProcessCase, live_by_processes
from tests.provisioning_faults.touches import Blow, Touch
from tests.provisioning_faults.worker_process import Point

#: Providers that other processes reach.
CLOUDS_OF_PROCESSES = ("hetzner", "hostwinds", "local", "byo")
_SIGNALS = {Blow.KILLED_BEFORE, Blow.KILLED_AFTER, *PAUSES}
_SCENARIOS = frozenset(Scenario) - {Scenario.REMOVED}
#: Nearly all of a case is waiting for claims to run out.
_SIDE_BY_SIDE = 6


async def process_cases(
    ground: Ground, clouds: Sequence[str], scenarios: Collection[Scenario] = _SCENARIOS
) -> list[ProcessCase]:
    """Return each point of each life with each signal; raise `AssertionError` if a life fails without any."""
    found: dict[ProcessCase, None] = {}
    for cloud in clouds:
        for scenario in sorted(_SCENARIOS.intersection(scenarios, CLOUDS[cloud].scenarios)):
            dry = await live(ground, Case(cloud, scenario))
            assert not dry.wrong, (cloud, scenario, dry.wrong)
            found.update(dict.fromkeys(_cases(cloud, scenario, dry.touches)))
    return list(found)


def _cases(cloud: str, scenario: Scenario, touches: Sequence[Touch]) -> Iterator[ProcessCase]:
    for touch in touches:
        # Until its steps are taken back, it is done like any other.
        if scenario not in {Scenario.UNDO, Scenario.CALLED_OFF} or touch.what.startswith("undo "):
            for blow in touch.blows:
                if blow in _SIGNALS:
                    yield ProcessCase(cloud, scenario, Point(touch.what, blow))


async def walk_processes(
    cluster: EmbeddedPostgres, todo: Sequence[ProcessCase], tell: Callable[[ProcessCase, Verdict], None]
) -> Report:
    """Walk through the cases, several side by side."""
    report = Report()
    places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(case: ProcessCase) -> None:
        async with places:
            try:
                verdict = await live_by_processes(cluster, case)
            except Exception as error:  # noqa: BLE001 - a case that breaks is a failed one
                verdict = Verdict(wrong=[f"{type(error).__name__}: {error}"])
        report.add(case, verdict)
        tell(case, verdict)

    await asyncio.gather(*map(one, todo))
    return report
