"""A container that is started again, on the same disk and network, for as long as a rule says so."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from control_plane.providers.base import ProviderError

log = logging.getLogger(__name__)


class Runs(Protocol):
    """What is needed of a running container; see `container.Container`."""

    def signal(self, number: int) -> None:
        """Send a signal to its first process."""

    async def ended(self) -> int:
        """Wait for its end and return nspawn's exit status."""


class KeptContainer:
    """`begin` starts it, `again` decides by nspawn's exit status; `ended` is told the last status when it stays off."""

    def __init__(
        self,
        begin: Callable[[], Awaitable[Runs]],
        again: Callable[[int], bool],
        ended: Callable[[int], None],
        pause_seconds: float,
    ) -> None:
        self._begin = begin
        self._again = again
        self._ended = ended
        self._pause_seconds = pause_seconds
        self._container: Runs | None = None
        self._life: asyncio.Task[None] | None = None
        self._halting = False

    @property
    def running(self) -> bool:
        """Whether it runs or is about to run again."""
        return self._life is not None and not self._life.done()

    async def start(self) -> None:
        """Return when its first process runs; no error when it runs already."""
        if not self.running:
            self._halting = False
            self._container = container = await self._begin()
            self._life = asyncio.create_task(self._live(container))

    async def halt(self) -> None:
        """Kill it, and return when everything in it has ended."""
        self._halting = True
        self.signal(signal.SIGKILL)
        if self._life is not None:
            await self._life

    def signal(self, number: int) -> None:
        """Send a signal to its first process; nothing happens while it does not run."""
        if self._container is not None:
            self._container.signal(number)

    async def _live(self, container: Runs) -> None:
        while self._again(status := await container.ended()) and not self._halting:
            self._container = None
            await asyncio.sleep(self._pause_seconds)
            try:
                self._container = container = await self._begin()
            except ProviderError:
                log.exception("a container does not start again")
                break
            if self._halting:
                container.signal(signal.SIGKILL)
        self._container = None
        self._ended(status)
