"""The life of one server among worker processes: one is ended or stopped by a signal, and another takes over.

Each case has a database, an account and workers of its own. A worker that was stopped is let go on when the other has
done its work and removed the server: it must change nothing. Between them pass seconds, not rows: claims run out and
jobs of dead workers are taken over as they are in earnest, only sooner.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from control_plane.embedded.postgres import EmbeddedPostgres
from tests.integration.database import FreshDatabase, fresh_database
from tests.provisioning_faults.byo_cloud import Person
from tests.provisioning_faults.clouds import CLOUDS
from tests.provisioning_faults.file_zone import FileZone
from tests.provisioning_faults.life import Ground, Life, Verdict, judge, opened_ground
from tests.provisioning_faults.plan import ENDS, LATER, PAUSES, REBUILDS, Case, Scenario
from tests.provisioning_faults.touches import Blow, Touches
from tests.provisioning_faults.worker_process import Point, run_worker

_PATIENCE = 180.0
_LOOK_SECONDS = 0.15
_OPEN = (
    "SELECT kind, state, error FROM pipeline_runs WHERE subject_id = :id"
    " AND state IN ('waiting', 'running', 'needs_person', 'undoing')"
)
_STATUS = "SELECT status FROM vps_servers WHERE id = :id"
_SPEAKS = (
    "SELECT count(*) AS given, count(*) FILTER (WHERE revoked_at IS NULL) AS good"
    " FROM agent_certificates WHERE vps_id = :id"
)

#: Children of a process that has everything imported and nothing opened.
_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload([run_worker.__module__])


@dataclass(frozen=True, slots=True)
class ProcessCase:
    """One life with one signal; its name is how to walk through it again (`--case`)."""

    cloud: str
    scenario: Scenario
    point: Point

    @property
    def name(self) -> str:
        """Name it: `hetzner/provision/create_server: create/killed_after`."""
        return f"{self.cloud}/{self.scenario}/{self.point.where}/{self.point.blow.name.lower()}"

    @property
    def where(self) -> str:
        """Where it falls."""
        return self.point.where

    @property
    def pauses(self) -> bool:
        """Whether the worker is stopped, and comes back."""
        return self.point.blow in PAUSES

    @property
    def removed_meanwhile(self) -> bool:
        """Whether the server is removed before the worker that was stopped comes back."""
        return self.pauses and self.scenario is Scenario.PROVISION


def parse_process_case(name: str) -> ProcessCase | None:
    """Read a case's name; None when it is that of a case within one process."""
    cloud, scenario, *point = name.split("/")
    if len(point) != 2:
        return None
    return ProcessCase(cloud, Scenario(scenario), Point(point[0], Blow[point[1].upper()]))


@dataclass
class ProcessLife(Life):
    """One server's, and its workers'."""

    folder: Path = field(kw_only=True)
    database_url: str = field(kw_only=True)

    @asynccontextmanager
    async def process(self, name: str, point: Point | None) -> AsyncIterator[ForkServerProcess]:
        """Start a worker process, and end it."""
        variables = {
            "PENGUIN_STATE_DIR": str(self.ground.settings.state_dir),
            "PENGUIN_PLATFORM_DOMAIN": self.ground.settings.platform_domain,
            "PENGUIN_SYSTEM_DATABASE_URL": self.database_url,
            **self.cloud.variables(),
        }
        process = _PROCESSES.Process(target=run_worker, args=(variables, self.folder, name, point))
        # In no other thread: it looks after all processes' ends too, and of two who look at once one reads nothing.
        process.start()
        try:
            yield process
        finally:
            await _end(process)

    def last_words(self) -> str:
        """Return the ends of the workers' logs."""
        return "; ".join(f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(self.folder.glob("*.log")))

    async def until_struck(self, process: ForkServerProcess) -> None:
        """Wait until the worker is no more, or stands still."""
        assert process.pid is not None
        deadline = time.monotonic() + _PATIENCE
        while process.is_alive() and not _stands_still(process.pid):
            await self._pass_time(deadline, "no worker came to the point")

    async def until_over(self, ends: Collection[str]) -> None:
        """Wait until the server is one of these and no run is open."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            (row,) = await self.rows(_STATUS)
            runs = await self.rows(_OPEN)
            if not runs and row.status in ends:
                # What the last look came too early for.
                await self._play()
                return
            await self._pass_time(deadline, f"it is {row.status}, and {[tuple(run) for run in runs]}")

    async def come_back_from_stop(self, process: ForkServerProcess) -> str | None:
        """Let a stopped worker go on; return what it changed, which must be nothing."""
        assert process.pid is not None
        before = await self.standing()
        os.kill(process.pid, signal.SIGCONT)
        deadline = time.monotonic() + _PATIENCE
        while process.is_alive() and not (self.folder / "struck.past").exists():
            await self._pass_time(deadline, "the worker that came back did not get on")
        after = await self.standing()
        return None if before == after else f"the worker that came back changed {before} to {after}"

    async def _pass_time(self, deadline: float, late: str) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{late}; {self.last_words()}")
        await self._play()
        await asyncio.sleep(_LOOK_SECONDS)

    async def _play(self) -> None:
        await self.play_agent()
        await self.play_customer()
        if isinstance(self.cloud, Person):
            await self._play_person(self.cloud)

    async def _play_person(self, person: Person) -> None:
        """Read what the run says, and do it; wipe the machine when it may not speak any more."""
        name = f"pm-{self.vps_id.hex[:12]}"
        if any(run.state == "needs_person" and "join command" in (run.error or "") for run in await self.rows(_OPEN)):
            person.hear(name)
        (speaks,) = await self.rows(_SPEAKS)
        if speaks.given and not speaks.good:
            person.wipe(name)


async def live_by_processes(cluster: EmbeddedPostgres, case: ProcessCase) -> Verdict:
    """Walk through a case and judge it."""
    with fresh_database(cluster) as fresh, tempfile.TemporaryDirectory(prefix="penguin-workers-") as name:
        folder = Path(name)
        async with opened_ground(fresh, folder / "state", pool_size=3) as ground:
            return await _live(case, ground, fresh, folder)


async def _live(case: ProcessCase, ground: Ground, fresh: FreshDatabase, folder: Path) -> Verdict:
    ends_as = Scenario.REMOVED if case.removed_meanwhile else case.scenario
    async with CLOUDS[case.cloud].make(ground.database, -1) as cloud:
        life = ProcessLife(
            ground,
            Case(case.cloud, ends_as),
            cloud,
            Touches(counting=False),
            FileZone(folder / "zone.json"),
            folder=folder,
            database_url=fresh.url("penguin_system"),
        )
        await life.ask()
        if case.scenario in LATER:
            await life.work()
        if case.scenario in REBUILDS:
            return await _live_through_rebuild(life, case)
        if case.scenario is Scenario.DECOMMISSION:
            await life.remove()
        return await judge(life, await _strike(life, case))


async def _live_through_rebuild(life: ProcessLife, case: ProcessCase) -> Verdict:
    async with life.rebuilt() as rebuilt:
        await life.rebuild()
        verdict = await judge(life, await _strike(life, case, rebuilt.receive_late))
        verdict.wrong += await rebuilt.wrong(life.case.rebuild_ends)
        return verdict


async def _strike(life: ProcessLife, case: ProcessCase, when_over: Callable[[], None] | None = None) -> str | None:
    """Have a worker struck and another take over; return what the first changed when it came back."""
    async with life.process("struck", case.point) as struck:
        await life.until_struck(struck)
        if not case.pauses and struck.exitcode != -signal.SIGKILL:
            return f"the worker ended by itself; {life.last_words()}"
        async with life.process("other", None):
            await life.until_over(ENDS[case.scenario])
            if when_over is not None:
                when_over()
            if case.removed_meanwhile:
                await life.remove()
                await life.until_over(ENDS[Scenario.REMOVED])
            return await life.come_back_from_stop(struck) if case.pauses else None


def _stands_still(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


async def _end(process: ForkServerProcess) -> None:
    """End a worker, also one that is stopped."""
    if process.is_alive():
        process.terminate()
        assert process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
    await asyncio.to_thread(process.join, 10.0)
    if process.is_alive():
        process.kill()
        await asyncio.to_thread(process.join)
    process.close()
