"""restic, as penguin-backup runs it. A server has a repository of its own below the place that is ordered.

So servers never wait for each other's locks. What opens the repository is in the program's environment, which root
alone can read, and on no command line; what restic says of a place is told without its password.
"""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.backup.order import Order
from log_lines.lines import clean

_PROGRAM = "restic"
#: Some files went or could not be read while they were saved (restic's manual, scripting).
_INCOMPLETE = 3
_TOLD_LINES = 3
#: Digits of a snapshot's id, as restic shows them.
_SHORT = 8
_INDEXES = "dovecot.index*"
_FRACTION = re.compile(r"\.\d+")
_KEPT = ("--keep-daily", "14", "--keep-weekly", "8", "--keep-monthly", "6")


class ResticFailed(Exception):
    """restic did not do what it was to; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One mailbox at one time."""

    id: str
    at: dt.datetime
    address: str
    path: Path


class Restic:
    """The repository of one server; `server` is another's where its mailboxes are brought back here."""

    def __init__(self, order: Order, cache: Path, server: str = "") -> None:
        self._server = server or order.server
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            # One thread for what is not waiting: the unit's shares do the rest.
            "GOMAXPROCS": "1",
            "RESTIC_REPOSITORY": f"{order.repository.rstrip('/')}/{self._server}",
            "RESTIC_PASSWORD": order.password,
            "RESTIC_CACHE_DIR": os.fspath(cache),
            **order.credentials,
        }

    def prepare(self) -> None:
        """Make the repository when there is none. Raises `ResticFailed`."""
        try:
            self._run("cat", "config")
        except ResticFailed:
            # What is there and cannot be opened, restic does not make anew.
            self._run("init")

    def save(self, address: str, home: Path) -> bool:
        """Save a mailbox; say whether all of it could be read. Raises `ResticFailed`."""
        tags = f"server={self._server},inbox={address}"
        words = ["--quiet", "--host", self._server, "--tag", tags, "--exclude", _INDEXES, os.fspath(home)]
        return self._run("backup", *words, fine=(0, _INCOMPLETE)).returncode == 0

    def snapshots(self, address: str = "") -> list[Snapshot]:
        """Return what there is of a mailbox or of all, oldest first. Raises `ResticFailed`."""
        only = ["--tag", f"inbox={address}"] if address else []
        found = json.loads(self._run("snapshots", "--json", "--no-lock", "--no-cache", *only).stdout) or []
        return sorted((_snapshot(each) for each in found), key=lambda each: each.at)

    def fetch(self, snapshot: Snapshot, into: Path) -> Path:
        """Restore a snapshot beneath `into` and return the mailbox's folder. Raises `ResticFailed`."""
        self._run("restore", snapshot.id, "--target", os.fspath(into))
        return into / snapshot.path.relative_to("/")

    def forget(self) -> None:
        """Drop what is beyond the retention, and the space it took. Raises `ResticFailed`."""
        self._run("forget", "--quiet", "--group-by", "host,tags", *_KEPT, "--prune")

    def _run(self, *words: str, fine: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        if shutil.which(_PROGRAM, path=self._environment["PATH"]) is None:
            raise ResticFailed("restic is not installed on this server, and could not be")
        done = subprocess.run(
            [_PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=self._environment,
        )
        if done.returncode not in fine:
            last = " | ".join(done.stderr.strip().splitlines()[-_TOLD_LINES:]) or "without a word"
            raise ResticFailed(clean(f"restic {words[0]} failed ({done.returncode}): {last}"))
        return done


def _snapshot(fields: dict[str, Any]) -> Snapshot:
    tags = dict(tag.partition("=")[::2] for tag in fields.get("tags") or [])
    # Its nanoseconds are more than Python 3.11 reads, and more than anybody asks.
    moment = dt.datetime.fromisoformat(_FRACTION.sub("", fields["time"])).astimezone(dt.UTC)
    return Snapshot(fields["id"][:_SHORT], moment, tags.get("inbox", ""), Path(fields["paths"][0]))
