"""Keep the private PostgreSQL and Redis running."""

import asyncio
from typing import Protocol

from control_plane.embedded.daemon import EmbeddedFailed
from control_plane.processes.child import seconds_before_restart
from control_plane.processes.progress import Progress

_LOOK_SECONDS = 0.5


class Keepable(Protocol):
    """A private daemon."""

    def start(self) -> None:
        """Start it and return when it serves; raise `EmbeddedFailed`."""

    def stop(self) -> None:
        """End it, or clear away what is left of it."""

    def running(self) -> bool:
        """Whether it runs."""


async def keep_running(name: str, daemon: Keepable, progress: Progress) -> None:
    """Start `daemon` again whenever it has ended, until cancelled."""
    failures = 0
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if daemon.running():
            failures = 0
            continue
        failures += 1
        pause = seconds_before_restart(failures)
        progress.step(f"{name} ended; starting it again in {pause:g} s")
        await asyncio.sleep(pause)
        try:
            daemon.stop()
            daemon.start()
        except EmbeddedFailed as error:
            progress.step(str(error))
