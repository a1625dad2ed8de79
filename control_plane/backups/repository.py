"""The repository: restic's, at any target that restic knows, encrypted with the password in a file.

Whoever has the repository and not the password has nothing; whoever loses the password has no backups. Credentials of a
target, such as AWS_ACCESS_KEY_ID, come from the environment, as restic's manual says.
"""

import datetime as dt
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.backups.programs import BackupFailed, run

#: Tags of snapshots: a whole copy of the database, the log as it was received since the copy before, as of the copy and
#: as of now.
BASE = "base"
WAL_UNTIL_COPY = "wal-until-copy"
WAL = "wal"
#: Digits of a snapshot's id, as restic shows them.
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot; `at` is when it was begun."""

    id: str
    at: dt.datetime
    tag: str
    #: The folder that was saved, as it was named then.
    path: Path


@dataclass(frozen=True, slots=True)
class Retention:
    """How many whole copies are kept: all of the last days, then the newest of each week and month.

    All, for after a gap in the log there are two copies of a day, and what was before it needs the first.
    """

    days: int = 7
    weekly: int = 4
    monthly: int = 6


@dataclass(frozen=True, slots=True)
class Repository:
    """A restic repository. `target` is a path or a URL."""

    target: str
    password_file: Path
    cache: Path

    def prepare(self) -> None:
        """Make the password and the repository when there is none."""
        try:
            descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32))
        try:
            self._restic("cat", "config")
        except BackupFailed:
            # What is there and cannot be opened, restic does not make anew.
            self._restic("init")

    def save(self, folder: Path, tag: str) -> str:
        """Save a folder and return its snapshot's id."""
        lines = self._restic("backup", "--json", "--host", "penguinmails", "--tag", tag, folder).splitlines()
        summary = next((each for each in map(json.loads, reversed(lines)) if each["message_type"] == "summary"), None)
        if summary is None:
            raise BackupFailed("restic saved nothing")
        return str(summary["snapshot_id"])[:_SHORT]

    def snapshots(self, tag: str | None = None) -> Sequence[Snapshot]:
        """Return the snapshots, the oldest first."""
        only = ["--tag", tag] if tag else []
        found = [_snapshot(each) for each in json.loads(self._restic("snapshots", "--json", *only)) or []]
        return sorted(found, key=lambda each: each.at)

    def fetch(self, snapshot: Snapshot, into: Path) -> Path:
        """Restore a snapshot beneath `into` and return the folder that was saved."""
        self._restic("restore", snapshot.id, "--target", into)
        return into / snapshot.path.relative_to("/")

    def forget(self, retention: Retention) -> None:
        """Drop what is beyond the retention, and the space it took."""
        kept = ("--keep-within", f"{retention.days}d")
        thinned = ("--keep-weekly", str(retention.weekly), "--keep-monthly", str(retention.monthly))
        self._restic("forget", "--tag", WAL_UNTIL_COPY, "--group-by", "tags", "--keep-within", "400d")
        self._restic("forget", "--tag", BASE, "--group-by", "tags", *kept, *thinned, "--prune")

    def forget_log(self) -> None:
        """Drop all but the newest of the log as of now, each of which has all of what the one before had."""
        self._restic("forget", "--tag", WAL, "--group-by", "tags", "--keep-last", "2")

    def verify(self) -> None:
        """Read all of the repository and check every hash. Raises `BackupFailed`."""
        self._restic("check", "--read-data")

    def _restic(self, *words: str | Path) -> str:
        if not self.password_file.exists():
            raise BackupFailed(
                "nothing was backed up by this installation; if something was, put the password of its backups back:"
                " `penguin backup keys --from`"
            )
        environment = {
            **os.environ,
            "RESTIC_REPOSITORY": self.target,
            "RESTIC_PASSWORD_FILE": os.fspath(self.password_file),
            "RESTIC_CACHE_DIR": os.fspath(self.cache),
        }
        return run(["restic", *words], environment)


def _snapshot(fields: dict[str, Any]) -> Snapshot:
    return Snapshot(
        id=str(fields["id"])[:_SHORT],
        at=dt.datetime.fromisoformat(_with_microseconds(str(fields["time"]))).astimezone(dt.UTC),
        tag=str((fields.get("tags") or [""])[0]),
        path=Path(fields["paths"][0]),
    )


def _with_microseconds(moment: str) -> str:
    """Cut restic's nanoseconds, which Python 3.11 reads no more than six digits of."""
    head, point, rest = moment.partition(".")
    if not point:
        return moment
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
