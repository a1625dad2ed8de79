"""How it stands with the authority's certificate, as penguin-certificates last wrote it down (agent/acme/status.py)."""

import json
from pathlib import Path
from typing import Any

from protos.agent.v1.telemetry_pb2 import CertificateIssue


class CertificateIssueFile:
    """Reads the file when it was replaced, and not otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0
        #: As last read; None until there is something to tell.
        self.issue: CertificateIssue | None = None

    def seen_change(self) -> bool:
        """Return whether there is something new in `issue` since the last look."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._seen:
                return False
            kept = json.loads(self._path.read_bytes())
            self.issue = _issue(kept)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._seen = changed
        return True


def _issue(kept: dict[str, Any]) -> CertificateIssue:
    return CertificateIssue(
        state=str(kept["state"]),
        detail=str(kept["detail"]),
        last_attempt_ms=int(kept["last_attempt"] * 1000),
        next_attempt_ms=int(kept["next_attempt"] * 1000),
        attempts_today=len(kept["attempts"]),
        failures=kept["failures"],
    )
