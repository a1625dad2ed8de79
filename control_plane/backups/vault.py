"""What an installation's backups are: where everything lies, and the acts that change the repository.

One act at a time, by a lock: a backup that is begun while another runs, or a restore, would take its folders away.
Whoever may wait does: the log is saved every minute, and that takes a while.
"""

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from control_plane.backups.base import SEGMENTS, take_copy
from control_plane.backups.repository import BASE, WAL, WAL_UNTIL_COPY, Repository, Retention
from control_plane.backups.restore_test import Tested, try_restore
from control_plane.backups.segments import clear, drop_before, first_segment, renew_slot
from control_plane.errors import Conflict

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Vault:
    """The backups of the installation whose state lies in `state`; `target` is where they go, for restic."""

    state: Path
    target: str = ""
    #: Seconds to wait for another act to end.
    patience: float = 0.0

    @property
    def folder(self) -> Path:
        """What is local to backups: the log as it is received, scratch space, restic's cache."""
        return self.state / "backup"

    @property
    def segments(self) -> Path:
        """The log as it is received."""
        return self.folder / "wal"

    @property
    def password_file(self) -> Path:
        """The repository's password."""
        return self.state / "backup.password"

    @property
    def log(self) -> Path:
        """What PostgreSQL says in scratch restores, and pg_receivewal."""
        return self.folder / "backup.log"

    @property
    def scratch(self) -> Path:
        """Where a restore test restores to."""
        return self.folder / "scratch"

    @property
    def copy_wanted(self) -> Path:
        """A file that is there from when the log began again until a whole copy is saved."""
        return self.folder / "copy-wanted"

    @property
    def repository(self) -> Repository:
        """The repository: in the installation's own folder unless another target is set."""
        return Repository(self.target or str(self.folder / "repository"), self.password_file, self.folder / "cache")

    def make(self) -> None:
        """Make the folders that are missing."""
        for folder in (self.folder, self.segments):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from backing up and restoring meanwhile; raise `Conflict` when another does for too long."""
        self.make()
        give_up_at = time.monotonic() + self.patience
        with (self.folder / "lock").open("w") as file:
            while not _is_locked(file):
                if time.monotonic() >= give_up_at:
                    raise Conflict("another backup, restore or test of one is under way")
                time.sleep(_LOOK_SECONDS)
            yield

    def back_up(self, owner_url: str) -> str:
        """Save a whole copy and return its snapshot's id; drop what is beyond the retention. Raises `BackupFailed`."""
        with self.alone():
            repository = self.repository
            repository.prepare()
            copy = self.folder / "copy"
            try:
                take_copy(owner_url, copy)
                first = first_segment(copy / SEGMENTS)
                saved = repository.save(copy, BASE)
            finally:
                shutil.rmtree(copy, ignore_errors=True)
            # Before what was received earlier goes: whoever restores an older copy needs it.
            repository.save(self.segments, WAL_UNTIL_COPY)
            repository.forget(Retention())
            drop_before(self.segments, first)
            self.copy_wanted.unlink(missing_ok=True)
            return saved

    def begin_log_again(self, owner_url: str) -> None:
        """Have the log received from now on, when the server does not keep what follows on what was received.

        Nobody may receive it meanwhile. No recovery crosses the gap, so a copy is wanted. Raises `BackupFailed`.
        """
        with self.alone():
            repository = self.repository
            repository.prepare()
            # As until a copy: the log as of now is replaced by what begins here, and copies are kept that need this.
            repository.save(self.segments, WAL_UNTIL_COPY)
            self.copy_wanted.touch()
            clear(self.segments)
            renew_slot(owner_url)

    def ship_log(self) -> str:
        """Save the log that was received since the last whole copies. Raises `BackupFailed`."""
        with self.alone():
            repository = self.repository
            repository.prepare()
            saved = repository.save(self.segments, WAL)
            repository.forget_log()
            return saved

    def test(self) -> Tested:
        """Try to restore the newest whole copy. Raises `BackupFailed`."""
        with self.alone():
            return try_restore(self.repository, self.scratch, self.log)


def _is_locked(file: TextIO) -> bool:
    """Lock it, unless another has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
