"""How the last change of the agent's release stands, as penguin-upgrade wrote it down (agent/upgrade/order.py)."""

import json
from pathlib import Path

from protos.agent.v1.telemetry_pb2 import AgentUpgrade


class AgentUpgradeFile:
    """Reads the file when it was replaced, and not otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0
        #: As last read; None until there is something to tell.
        self.upgrade: AgentUpgrade | None = None

    def seen_change(self) -> bool:
        """Return whether there is something new in `upgrade` since the last look."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._seen:
                return False
            kept = json.loads(self._path.read_bytes())
            self.upgrade = AgentUpgrade(
                release=str(kept["release"]),
                state=str(kept["state"]),
                reason=str(kept["reason"])[:500],
                at_ms=int(kept["at"] * 1000),
                previous=str(kept["previous"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._seen = changed
        return True
