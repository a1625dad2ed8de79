"""A private PostgreSQL from the machine's own binaries, on a Unix socket alone.

The data directory is made on the first start. Everyone who can reach the socket, which lies in a directory of mode
0700, is trusted to be any role; there is no TCP port. `fsync` and `synchronous_commit` are on: a commit is on disk.
It shuts down (fast) when its parent dies. The distribution's cluster `main` is never touched.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from control_plane.embedded.daemon import Daemon, EmbeddedFailed, check_socket_path, quarters

#: Superuser and owner of every object.
OWNER = "penguin_owner"
DATABASE = "penguin"

_USER = "postgres"
_HOME = "/var/lib/postgresql"
_BINARIES = Path("/usr/lib/postgresql")
_SOCKET_NAME = ".s.PGSQL.5432"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class EmbeddedPostgres:
    """One private cluster. `enter` is a command prefix, such as nsenter, that decides where it runs.

    `owner` and `database` are others for what was restored of a cluster that was none of ours.
    """

    def __init__(
        self,
        data_dir: Path,
        socket_dir: Path,
        enter: Sequence[str] = (),
        log: Path | None = None,
        *,
        owner: str = OWNER,
        database: str = DATABASE,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._socket_dir = socket_dir.absolute()
        self._enter = tuple(enter)
        self._log = log or self._data_dir.with_name(f"{self._data_dir.name}.log")
        self._owner = owner
        self._database = database
        self._daemon: Daemon | None = None

    @property
    def owner_url(self) -> str:
        """The libpq URL of its database for its owner."""
        return self.url(self._owner, self._database)

    def start(self, seconds: float = _START_SECONDS) -> None:
        """Make the cluster when there is none, start it and return when its database takes connections.

        It gets so many seconds for that, of which a recovery may need more than a start. Raises `EmbeddedFailed`. Call
        it from the main thread (see daemon.py).
        """
        check_socket_path(self._socket_dir / _SOCKET_NAME)
        if not self._data_dir.exists():
            self._initialise()
        self._wait_for_predecessor()
        self._daemon = Daemon("PostgreSQL", [*self._enter, *self._command()], self._log)
        self._daemon.wait_until(self._accepts, seconds)
        self._create_database()

    def stop(self) -> None:
        """Shut down fast (open transactions are rolled back); nothing happens when it does not run."""
        if self._daemon:
            self._daemon.stop(signal.SIGINT, _STOP_SECONDS)
            self._daemon = None

    def running(self) -> bool:
        """Whether it was started and still runs."""
        return self._daemon is not None and self._daemon.running()

    def url(self, user: str, database: str = DATABASE) -> str:
        """Return the libpq URL of `database` for the role `user`; there are no passwords."""
        return f"postgresql://{quote(user)}@/{quote(database)}?host={quote(os.fspath(self._socket_dir), safe='/')}"

    def _initialise(self) -> None:
        """Make the cluster beside its place and move it there, so that one cut short is never taken for whole."""
        unfinished = self._data_dir.with_name(f"{self._data_dir.name}.new")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        place = quarters(_USER, _HOME, data=unfinished)
        initdb = [
            *(os.fspath(binaries(unfinished) / "initdb"), "-D", place.path("data")),
            *("--username", self._owner, "--auth-local", "trust", "--auth-host", "reject"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"),
        ]
        command = place.command("KILL", initdb)
        with self._log.open("ab") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        if done.returncode != 0:
            raise EmbeddedFailed(f"initdb failed; see {self._log}")
        unfinished.rename(self._data_dir)

    def _command(self) -> list[str]:
        place = quarters(_USER, _HOME, data=self._data_dir, sockets=self._socket_dir)
        postgres = [
            *(os.fspath(binaries(self._data_dir) / "postgres"), "-D", place.path("data")),
            *("-c", "listen_addresses="),
            *("-c", f"unix_socket_directories={place.path('sockets')}"),
            *("-c", "unix_socket_permissions=0700"),
            *("-c", "fsync=on"),
            *("-c", "synchronous_commit=on"),
            # Each process holds a pool; the default of 100 would be close.
            *("-c", "max_connections=200"),
            # A receiver of the log that stays away must not fill the disk.
            *("-c", "max_slot_wal_keep_size=8GB"),
        ]
        return place.command("INT", postgres)

    def _wait_for_predecessor(self) -> None:
        """Wait while a cluster whose parent was killed shuts down; raise when it seems to be in use."""
        deadline = time.monotonic() + _STOP_SECONDS
        while (pid := _postmaster(self._data_dir)) is not None:
            if time.monotonic() > deadline:
                raise EmbeddedFailed(f"another PostgreSQL, process {pid}, runs on {self._data_dir}")
            time.sleep(0.05)

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url(self._owner, "postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with psycopg.connect(self.url(self._owner, "postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))


def give(data_dir: Path) -> None:
    """Make all beneath a data directory that was brought from elsewhere the server's own, and nobody else's."""
    if os.geteuid() != 0:
        return
    for folder, _, files in os.walk(data_dir):
        for name in ("", *files):
            shutil.chown(Path(folder) / name, _USER, _USER)


def binaries(data_dir: Path) -> Path:
    """Return the folder of programs that fit `data_dir`: of its version, or the newest for a new cluster.

    Raises `EmbeddedFailed` when this machine does not have them.
    """
    version_file = data_dir / "PG_VERSION"
    if version_file.exists():
        version = version_file.read_text().strip()
        if not (_BINARIES / version / "bin" / "postgres").exists():
            raise EmbeddedFailed(f"{data_dir} needs PostgreSQL {version} (Debian package postgresql-{version})")
        return _BINARIES / version / "bin"
    installed = [int(program.parent.parent.name) for program in _BINARIES.glob("*/bin/postgres")]
    if not installed:
        raise EmbeddedFailed("PostgreSQL is not installed (Debian package postgresql)")
    return _BINARIES / str(max(installed)) / "bin"


def _postmaster(data_dir: Path) -> int | None:
    """Return the id of the PostgreSQL process that holds `data_dir`, if it still runs."""
    try:
        pid = int((data_dir / "postmaster.pid").read_text().splitlines()[0])
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid if name == "postgres" else None
