"""What a command asked for, as the root half wrote it down: times in seconds since the Unix epoch, by this server.

An attempt uses up all that was asked for before it began.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from agent.acme.status import Status


@dataclass(frozen=True, slots=True)
class Asked:
    """0 for never."""

    #: A certificate was asked for, whatever is served.
    renew_at: float = 0.0
    #: Port 80 was opened, for an attempt that begins before `port_until`.
    port_at: float = 0.0
    port_until: float = 0.0

    def wants_renewal(self, status: Status) -> bool:
        """Say whether nobody was asked since."""
        return self.renew_at > status.last_attempt

    def has_port_open(self, status: Status, now: float) -> bool:
        """Say whether port 80 is open, for the first attempt since."""
        return self.port_at > status.last_attempt and now < self.port_until


def read_asked(path: Path) -> Asked:
    """Return what was asked for; a file that is missing or damaged is nothing."""
    try:
        return Asked(**{name: float(at) for name, at in json.loads(path.read_bytes()).items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return Asked()
