"""One process of the installation: started, waited for, started again when it dies, ended in order.

A child gets SIGTERM when we die (setpriv's --pdeathsig), so a killed installation leaves none behind. What it prints
goes to its own log file.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from control_plane.embedded.daemon import log_tail
from control_plane.errors import Unavailable
from control_plane.processes.readiness import ready_socket

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
#: Who ran this long was well; the next death is a first one again.
_WELL_SECONDS = 60.0
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ChildOrder:
    """What to run, with its whole environment. `ready` tells when it serves, where it does not say so itself."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    notify_socket: Path
    pass_fds: Sequence[int] = ()
    ready: Callable[[], Awaitable[None]] | None = None


class Child:
    """A child process that is kept running."""

    def __init__(self, order: ChildOrder, tell: Callable[[str], None]) -> None:
        self._order = order
        self._tell = tell
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and return when it serves; from then on it is kept running. Raises `Unavailable`."""
        await self._start_once()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self._order.name}")

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that takes too long."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process:
            await _end(self._process)

    async def _start_once(self) -> None:
        if self._order.ready:
            await self._spawn_and_wait(self._order.environment, self._order.ready)
            return
        async with ready_socket(self._order.notify_socket) as notified:
            environment = {**self._order.environment, "NOTIFY_SOCKET": str(self._order.notify_socket)}
            await self._spawn_and_wait(environment, notified.wait)

    async def _spawn_and_wait(self, environment: Mapping[str, str], ready: Callable[[], Awaitable[None]]) -> None:
        order = self._order
        self._process = await self._spawn(environment)
        serves = asyncio.ensure_future(ready())
        ended = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait((serves, ended), timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not serves.done():
                why = f"ended with status {ended.result()}" if ended.done() else "did not get ready"
                raise Unavailable(f"{order.name} {why} while starting; {log_tail(order.log)}")
            serves.result()
        finally:
            serves.cancel()
            ended.cancel()

    async def _spawn(self, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        order = self._order
        with order.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *order.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=order.pass_fds,
                start_new_session=True,
            )

    async def _keep(self) -> None:
        deaths = 0
        while self._process:
            started = time.monotonic()
            status = await self._process.wait()
            deaths = 1 if time.monotonic() - started > _WELL_SECONDS else deaths + 1
            pause = seconds_before_restart(deaths)
            self._tell(f"{self._order.name} ended with status {status}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            try:
                await self._start_once()
                self._tell(f"{self._order.name} serves again")
            except (Unavailable, OSError) as error:
                self._tell(str(error))
                await _end(self._process)


def seconds_before_restart(deaths: int) -> float:
    """Return how long to wait after so many deaths in a row: doubling, up to half a minute."""
    # A power that is surely beyond the longest wait, and no overflow.
    return min(_FIRST_WAIT_SECONDS * 2.0 ** min(deaths - 1, 10), _LONGEST_WAIT_SECONDS)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
