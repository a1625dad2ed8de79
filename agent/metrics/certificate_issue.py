"""How it stands with the authority's certificate, as penguin-certificates last wrote it down (agent/acme/status.py).

Beside it may lie the records that an attempt waits for (agent/acme/dns_hook.py).
"""

import json
from pathlib import Path
from typing import Any

from protos.agent.v1.telemetry_pb2 import AcmeChallenge, CertificateIssue

#: As agent/acme/certbot.py has it, which this half need not load.
_CHALLENGES = "challenges.json"


class CertificateIssueFile:
    """Reads the files when one was replaced, and not otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._challenges_path = path.with_name(_CHALLENGES)
        self._seen = (0, 0)
        #: As last read; None until there is something to tell.
        self.issue: CertificateIssue | None = None
        #: A name that HTTPS shows the certificate under; None while it is for no such name.
        self.web_name: str | None = None

    def seen_change(self) -> bool:
        """Return whether there is something new in `issue` since the last look."""
        try:
            changed = (self._path.stat().st_mtime_ns, _changed(self._challenges_path))
            if changed == self._seen:
                return False
            kept = json.loads(self._path.read_bytes())
            issue = _issue(kept)
            if changed[1]:
                asked = json.loads(self._challenges_path.read_bytes())
                issue.challenges.extend(AcmeChallenge(name=str(a["name"]), value=str(a["value"])) for a in asked)
            self.issue = issue
            self.web_name = next(iter(kept.get("certified", ())), None)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._seen = changed
        return True


def _changed(path: Path) -> int:
    """Return when the file was changed; 0 when it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _issue(kept: dict[str, Any]) -> CertificateIssue:
    return CertificateIssue(
        state=str(kept["state"]),
        detail=str(kept["detail"]),
        last_attempt_ms=int(kept["last_attempt"] * 1000),
        next_attempt_ms=int(kept["next_attempt"] * 1000),
        attempts_today=len(kept["attempts"]),
        failures=kept["failures"],
        missing_names=[str(name) for name in kept.get("missing", ())],
    )
