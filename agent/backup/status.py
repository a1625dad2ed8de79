"""What came of the last backup and the last restore. One small file (status_writer.py), for the health report."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Status:
    """Times are seconds since the Unix epoch, 0 for never."""

    #: When the last backup ended, and the last that has all mailboxes.
    ended: float = 0.0
    good: float = 0.0
    mailboxes: int = 0
    detail: str = ""
    #: The command that asked for the last restore, whether it was done, and when.
    restore_id: str = ""
    restore_ok: bool = False
    restore_ended: float = 0.0
    restore_detail: str = ""


def load(path: Path) -> Status:
    """Return what is remembered; a file that is missing or damaged is nothing."""
    try:
        return Status(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return Status()
