"""Bring a copy to life: gather the log, let PostgreSQL recover to its end, to a moment or to a restore point.

The copy becomes a data directory of its own; nothing else is touched. Settings of the recovery are taken out again, so
what is left is an ordinary cluster on a new timeline.
"""

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from control_plane.backups.base import DATA, Manifest
from control_plane.backups.programs import BackupFailed
from control_plane.backups.segments import gather
from control_plane.embedded.daemon import EmbeddedFailed
from control_plane.embedded.postgres import EmbeddedPostgres, give

#: Beneath the data directory, which is where PostgreSQL runs `restore_command`.
_SEGMENTS = "penguin_wal"
_SETTINGS = "postgresql.auto.conf"
#: Lent to a cluster whose configuration lies elsewhere, as Debian's does; its socket is in a folder of ours alone.
_LENT = {"postgresql.conf": "", "pg_hba.conf": "local all all trust\n"}
_RECOVERY_SECONDS = 6 * 3600.0
_LAST = (
    "SELECT pg_last_xact_replay_timestamp(), pg_current_wal_lsn()::text, current_setting('synchronous_standby_names')"
)


@dataclass(frozen=True, slots=True)
class Target:
    """How far to recover: to a restore point, to a moment, or, with neither, as far as the log goes."""

    point: str = ""
    moment: dt.datetime | None = None

    def settings(self) -> list[str]:
        """Return the lines for PostgreSQL's configuration."""
        lines = ["recovery_target_action = 'promote'"]
        if self.point:
            lines.append(f"recovery_target_name = '{self.point}'")
        elif self.moment:
            lines.append(f"recovery_target_time = '{self.moment.isoformat()}'")
        return lines


@dataclass(frozen=True, slots=True)
class Recovered:
    """How far a recovery came."""

    #: Of the last transaction that was replayed; None when none was.
    last: dt.datetime | None
    #: The position in the log, as the server writes it.
    position: str
    #: `synchronous_standby_names`: whom commits had waited for.
    standbys: str


def prepare(copy: Path, data_dir: Path, sources: Sequence[Path], target: Target) -> None:
    """Make `data_dir` of a copy that was fetched, ready to recover with the log in `sources`."""
    (copy / DATA).rename(data_dir)
    data_dir.chmod(0o700)
    gather(data_dir / _SEGMENTS, sources)
    settings = data_dir / _SETTINGS
    shutil.copyfile(settings, data_dir / f"{_SETTINGS}.kept")
    with settings.open("a") as file:
        lines = [f"restore_command = 'cp {_SEGMENTS}/%f %p'", "hot_standby = off", *target.settings()]
        file.writelines(f"{line}\n" for line in lines)
    for name, content in _LENT.items():
        if not (data_dir / name).exists():
            (data_dir / name).write_text(content)
    (data_dir / "recovery.signal").touch()
    give(data_dir)


@contextmanager
def recovered(
    data_dir: Path, sockets: Path, log: Path, manifest: Manifest
) -> Iterator[tuple[EmbeddedPostgres, Recovered]]:
    """Recover what was prepared and give the running server; stop it afterwards. Raises `BackupFailed`."""
    server = EmbeddedPostgres(data_dir, sockets, log=log, owner=manifest.owner, database=manifest.database)
    try:
        server.start(_RECOVERY_SECONDS)
    except EmbeddedFailed as error:
        raise BackupFailed(f"the copy does not start: {error}") from error
    try:
        yield server, _how_far(server)
    finally:
        server.stop()
    kept = data_dir / f"{_SETTINGS}.kept"
    if kept.exists():
        kept.replace(data_dir / _SETTINGS)
        give(data_dir)
    shutil.rmtree(data_dir / _SEGMENTS, ignore_errors=True)


def _how_far(server: EmbeddedPostgres) -> Recovered:
    with psycopg.connect(server.owner_url, autocommit=True) as connection:
        row = connection.execute(_LAST).fetchone()
    if row is None:
        raise BackupFailed("the restored database does not say how far it came")
    return Recovered(*row)
