"""Looks whether somebody changed the files that were applied, and has them put right unless they are only to be shown.

The root half reads them, for they are not all the agent's to read, and answers with paths alone.
"""

import logging
import time
from pathlib import Path

from agent.configuration.asking import ask_root_half, look_for_ever
from agent.configuration.configurator import Configurator
from protos.agent.v1.configuration_pb2 import ConfigurationDrift
from protos.agent.v1.root_half_pb2 import LookForDrift, RootRequest

#: Seconds for the root half, which may be applying a configuration first.
_ANSWER_SECONDS = 300.0

_log = logging.getLogger(__name__)


class DriftWatch:
    """`seen` is what was found last, for the health report; None before the first look."""

    def __init__(self, configurator: Configurator, socket: Path) -> None:
        self.seen: ConfigurationDrift | None = None
        self._configurator = configurator
        self._socket = socket

    async def run(self) -> None:
        """Look for ever; the first time after a while, since what was just applied is as it should be."""
        await look_for_ever(self.look)

    async def look(self) -> None:
        """Look once, and mend. Raises what `ask_root_half` raises."""
        applied = self._configurator.applied.get()
        if applied is None:
            return
        paths = await self._drifted()
        if paths and not applied.only_show_drift:
            _log.warning("changed by somebody else, and put right: %s", ", ".join(paths))
            await self._configurator.reapply()
            self._keep(await self._drifted(), mended=paths)
        else:
            self._keep(paths)

    async def _drifted(self) -> list[str]:
        answer = await ask_root_half(self._socket, RootRequest(look_for_drift=LookForDrift()), _ANSWER_SECONDS)
        return list(answer.drift.paths)

    def _keep(self, paths: list[str], mended: list[str] | None = None) -> None:
        now = time.time_ns() // 1_000_000
        seen = ConfigurationDrift(looked_at_ms=now, paths=paths)
        if mended:
            seen.mended_at_ms = now
            seen.mended_paths.extend(path for path in mended if path not in paths)
        elif self.seen is not None:
            seen.mended_at_ms = self.seen.mended_at_ms
            seen.mended_paths.extend(self.seen.mended_paths)
        self.seen = seen
