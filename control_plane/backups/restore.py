"""Restore the control plane's database: a whole copy, and the log from wherever it survived.

The log is looked for in the repository, where it is received, and in the data directory that is replaced, if that is
there still. That directory and the received log are put aside and never removed. Whether everything that was committed
is there again can be known in two cases: the replaced directory's own log was read to its end; or commits had waited
for the receiver, and what it received is there. In all others sends are held and servers asked (after_restore.py).
"""

import datetime as dt
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control_plane.backups.after_restore import hold_and_ask
from control_plane.backups.base import SEGMENTS, Manifest
from control_plane.backups.programs import BackupFailed, postgres_program, run
from control_plane.backups.recover import Recovered, Target, prepare, recovered
from control_plane.backups.repository import BASE, WAL, WAL_UNTIL_COPY, Snapshot
from control_plane.backups.segments import PARTIAL, number_of
from control_plane.backups.vault import Vault
from control_plane.embedded.postgres import DATABASE, OWNER

_CHECKPOINT = "Latest checkpoint location:"
_RECEIVER = "pg_receivewal"
_SEGMENT_BITS = 24


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore brought back."""

    snapshot: str
    #: The last moment that the database knows of.
    moment: dt.datetime
    #: Everything that was committed is there, and nothing is held.
    is_whole: bool
    #: Sends that are held, whose servers will be asked.
    held: int


def restore(vault: Vault, data_dir: Path, snapshot_id: str = "", moment: dt.datetime | None = None) -> Restored:
    """Put a restored database at `data_dir`: of the newest copy, or one of this id, up to the log's end or a moment.

    Nothing of the installation may run. Raises `BackupFailed`; `data_dir` is then what it was.
    """
    with vault.alone():
        scratch = vault.folder / "restoring"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            return _restore(vault, data_dir, scratch, snapshot_id, moment)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _restore(vault: Vault, data_dir: Path, scratch: Path, snapshot_id: str, moment: dt.datetime | None) -> Restored:
    snapshot = choose(vault.repository.snapshots(BASE), snapshot_id, moment)
    copy = vault.repository.fetch(snapshot, scratch / "copy")
    manifest = Manifest.read(copy)
    if (manifest.owner, manifest.database) != (OWNER, DATABASE):
        raise BackupFailed("the copy is of a PostgreSQL of yours, and not of an installation's own")
    sources = [copy / SEGMENTS, *_shipped(vault, snapshot, scratch), vault.segments, data_dir / "pg_wal"]
    fresh = scratch / "data"
    prepare(copy, fresh, sources, Target(moment=moment))
    with (
        tempfile.TemporaryDirectory(prefix="penguin-restore-") as sockets,
        recovered(fresh, Path(sockets) / "s", vault.log, manifest) as (server, came),
    ):
        last = max(came.last or manifest.at, manifest.at) if moment is None else (came.last or manifest.at)
        is_whole = moment is None and _is_whole(vault, data_dir, came)
        held = 0 if is_whole else hold_and_ask(server.owner_url, last)
    _put_aside(data_dir, vault.segments)
    fresh.rename(data_dir)
    return Restored(snapshot.id, last, is_whole, held)


def choose(snapshots: Sequence[Snapshot], snapshot_id: str, moment: dt.datetime | None) -> Snapshot:
    """Return the copy to begin with: the one named, or the newest that is not after the moment. Pure."""
    fitting = [each for each in snapshots if each.id.startswith(snapshot_id) and (moment is None or each.at <= moment)]
    if not fitting:
        raise BackupFailed("there is no backup of that id and from before that moment")
    return max(fitting, key=lambda each: each.at)


def _shipped(vault: Vault, copy: Snapshot, scratch: Path) -> list[Path]:
    """Return the log since a copy that is in the repository: up to each later copy, and after the last."""
    repository = vault.repository
    shipped = [each for each in repository.snapshots(WAL_UNTIL_COPY) if each.at >= copy.at]
    shipped += repository.snapshots(WAL)[-1:]
    return [repository.fetch(each, scratch / "log" / each.id) for each in shipped]


def _is_whole(vault: Vault, data_dir: Path, came: Recovered) -> bool:
    """Whether all that was committed has come back, as far as that can be known."""
    if (data_dir / "global" / "pg_control").exists():
        return _position(came.position) >= _position(_checkpoint_of(data_dir))
    waited = _RECEIVER in came.standbys or "*" in came.standbys
    received = [number_of(path.name) for path in vault.segments.glob(f"*{PARTIAL}")]
    return waited and bool(received) and _position(came.position) >> _SEGMENT_BITS >= max(received)


def _checkpoint_of(data_dir: Path) -> str:
    """Return how far a cluster that does not run had come at least."""
    told = run([postgres_program("pg_controldata"), "-D", data_dir])
    lines = (line for line in told.splitlines() if line.startswith(_CHECKPOINT))
    return next(lines, f"{_CHECKPOINT} FFFFFFFF/0").removeprefix(_CHECKPOINT).strip()


def _position(written: str) -> int:
    """Return a position in the log as a number."""
    high, _, low = written.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def _put_aside(*folders: Path) -> None:
    """Rename what a restore replaces, and forget nothing."""
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    for folder in folders:
        if folder.exists():
            folder.rename(folder.with_name(f"{folder.name}.before-restore-{stamp}"))
