"""The restore test: the newest backup is restored beside everything, started, and compared with what it recorded."""

import datetime as dt
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from control_plane.backups.base import SEGMENTS, Manifest
from control_plane.backups.digest import differences, digest
from control_plane.backups.programs import BackupFailed
from control_plane.backups.recover import Target, prepare, recovered
from control_plane.backups.repository import BASE, Repository

_TOLD = 5


@dataclass(frozen=True, slots=True)
class Tested:
    """What a restore test found. `wrong` holds a sentence for each table that was not as recorded."""

    snapshot: str
    #: The moment that was restored.
    at: dt.datetime
    tables: int
    rows: int
    wrong: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What it found, in one line."""
        if not self.wrong:
            return f"{self.tables} tables with {self.rows} rows are as they were"
        return "; ".join(self.wrong[:_TOLD]) + (f"; and {len(self.wrong) - _TOLD} more" if self.wrong[_TOLD:] else "")


def try_restore(repository: Repository, scratch: Path, log: Path) -> Tested:
    """Restore the newest backup beneath `scratch` and compare. Raises `BackupFailed` when it cannot be restored."""
    newest = max(repository.snapshots(BASE), key=lambda each: each.at, default=None)
    if newest is None:
        raise BackupFailed("there is no backup to test")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700, parents=True)
    try:
        copy = repository.fetch(newest, scratch / "fetched")
        manifest = Manifest.read(copy)
        data_dir = scratch / "data"
        prepare(copy, data_dir, [copy / SEGMENTS], Target(point=manifest.point))
        # A socket's path must be short, wherever the scratch folder lies.
        with (
            tempfile.TemporaryDirectory(prefix="penguin-restore-") as sockets,
            recovered(data_dir, Path(sockets) / "s", log, manifest) as (server, _),
            psycopg.connect(server.owner_url) as connection,
        ):
            found = digest(connection)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    rows = sum(each.rows for each in found.values())
    return Tested(newest.id, manifest.at, len(found), rows, tuple(differences(manifest.tables, found)))
