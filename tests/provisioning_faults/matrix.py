"""Walk through cases, several side by side, and add up what they came to."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from control_plane.embedded.postgres import EmbeddedPostgres
from tests.integration.database import fresh_database
from tests.provisioning_faults.clouds import CLOUDS
from tests.provisioning_faults.life import Ground, Verdict, live, standing_ground
from tests.provisioning_faults.plan import Case, Scenario, cases

_SIDE_BY_SIDE = 6
_CASE_SECONDS = 90.0
#: Paused workers hold a thread each.
_THREADS = 64


class Named(Protocol):
    """A case, within one process or among several."""

    @property
    def cloud(self) -> str:
        """Whose servers."""

    @property
    def where(self) -> str:
        """What is struck."""

    @property
    def name(self) -> str:
        """How to walk through it again."""


@dataclass(slots=True)
class Report:
    """What the cases came to."""

    counts: Counter[str] = field(
        default_factory=lambda: Counter(
            runs=0, valid=0, servers_asked=0, servers_created=0, orphans=0, double_charges=0
        )
    )
    by_cloud: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, case: Named, verdict: Verdict) -> None:
        """Count a case, and keep what is needed to look into one that failed."""
        self.counts.update(
            runs=1,
            valid=not verdict.wrong,
            servers_asked=verdict.asked,
            servers_created=verdict.created,
            orphans=verdict.orphans,
            double_charges=verdict.double_charges,
        )
        self.by_cloud[case.cloud] += 1
        if verdict.wrong:
            replay = f"./penguin test provisioning-faults --case '{case.name}'"
            self.failures.append({"case": case.name, "at": case.where, "wrong": verdict.wrong, "replay": replay})

    @property
    def holds(self) -> bool:
        """Whether each server that was asked for was made once, and nothing was left."""
        return not self.failures and self.counts["runs"] > 0


@asynccontextmanager
async def ground_of(cluster: EmbeddedPostgres) -> AsyncIterator[Ground]:
    """Copy a database for the matrix and open it."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    with fresh_database(cluster) as fresh, tempfile.TemporaryDirectory(prefix="penguin-matrix-") as folder:
        async with standing_ground(fresh, Path(folder) / "state") as ground:
            yield ground


async def all_cases(
    ground: Ground, clouds: Sequence[str] = tuple(CLOUDS), scenarios: Sequence[Scenario] = tuple(Scenario)
) -> list[Case]:
    """Walk through each life without a blow, and return what can be struck; raise `AssertionError` if one fails."""
    found: list[Case] = []
    for cloud in clouds:
        for scenario in [each for each in scenarios if each in CLOUDS[cloud].scenarios]:
            dry = await live(ground, Case(cloud, scenario))
            if dry.wrong:
                raise AssertionError(f"{cloud}, {scenario}, without any blow: {dry.wrong}")
            found.extend(cases(cloud, scenario, dry.touches, dry.wire_calls))
    return found


async def walk(ground: Ground, todo: Sequence[Case], tell: Callable[[Case, Verdict], None]) -> Report:
    """Walk through the cases."""
    report = Report()
    places = asyncio.Semaphore(_SIDE_BY_SIDE)

    async def one(case: Case) -> None:
        async with places:
            try:
                async with asyncio.timeout(_CASE_SECONDS):
                    verdict = await live(ground, case)
            except Exception as error:  # noqa: BLE001 - a case that breaks is a failed one
                verdict = Verdict(wrong=[f"{type(error).__name__}: {error}"])
        report.add(case, verdict)
        tell(case, verdict)

    await asyncio.gather(*map(one, todo))
    return report
