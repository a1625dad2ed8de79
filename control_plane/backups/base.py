"""A whole copy of the database, with what it held at one moment.

It is made by `pg_basebackup`, the log up to a named restore point, and a count and hash of each table as of that point.

Writers are held for as long as it takes to name the point, by a SHARE lock on all tables. It is had at once or not at
all, and asked for until nobody is in the middle of writing: whoever has one table and waits for another can wait in a
circle with a writer, and PostgreSQL fails one who has waited in it for a second (deadlock_timeout). Where somebody
always writes, a tenth of a second is waited each time after a while; that can fail a writer only who has waited for
nine of them before. Hashes are computed after the locks are gone, in the same snapshot.
"""

import datetime as dt
import json
import random
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from control_plane.backups.digest import TableDigest, digest, tables_of
from control_plane.backups.programs import BackupFailed, postgres_program, reaching, run
from control_plane.backups.segments import PARTIAL
from control_plane.embedded.postgres import DATABASE, OWNER

MANIFEST = "manifest.json"
DATA = "data"
#: The log from the copy's beginning to its restore point.
SEGMENTS = "wal"
#: Seconds of tries without waiting, and of tries that wait, each for so many milliseconds.
_AT_ONCE, _WAITING, _WAIT_MS = 20.0, 60.0, 100
#: Seconds between two tries: a moment, or enough for those who were held to get on.
_PAUSES = {False: (0.002, 0.02), True: (0.1, 0.4)}
#: PostgreSQL stops its own cleaning of a table for whoever waits until it looks for circles; this much longer, in
#: milliseconds, we wait. Nothing else is locked meanwhile. What goes on in spite of that, so often, is not its own.
_CLEANING_ENDS_MS, _STOPS = 500, 3
_CLEANED = """
SELECT DISTINCT n.nspname, c.relname
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_WAIT_FOR_CLEANING = """
SELECT set_config('lock_timeout', (setting::int + %s)::text, true) FROM pg_settings WHERE name = 'deadlock_timeout'
"""
_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)
#: Of PostgreSQL's backup_label.
_BEGINS = re.compile(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)$", re.MULTILINE)
_POINT = "SELECT pg_export_snapshot(), clock_timestamp(), pg_create_restore_point(%s)"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a copy recorded of itself."""

    #: The restore point that `tables` are of, and its moment by the database's clock.
    point: str
    at: dt.datetime
    tables: dict[str, TableDigest]
    #: The role that it was made by, and the database of `tables`.
    owner: str = OWNER
    database: str = DATABASE

    def write(self, folder: Path) -> None:
        """Write it into a copy's folder."""
        whose = {"owner": self.owner, "database": self.database}
        content = {"point": self.point, "at": self.at.isoformat(), **whose, "tables": {}}
        tables = {name: asdict(each) for name, each in self.tables.items()}
        (folder / MANIFEST).write_text(json.dumps({**content, "tables": tables}, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read it from a copy's folder; raise `BackupFailed` when it is not a whole copy."""
        try:
            content = json.loads((folder / MANIFEST).read_text())
            tables = {name: TableDigest(**each) for name, each in content["tables"].items()}
            # A copy of before they were recorded is of an installation's own.
            whose = content.get("owner", OWNER), content.get("database", DATABASE)
            return cls(content["point"], dt.datetime.fromisoformat(content["at"]), tables, *whose)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackupFailed(f"the copy has no manifest that can be read: {error}") from error


def take_copy(owner_url: str, folder: Path) -> Manifest:
    """Make a whole copy in `folder`, which is made anew. Raises `BackupFailed`.

    The URL is a superuser's, or that of a role such as deploy/postgresql/roles.sql makes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    slot = f"penguin_copy_{uuid.uuid4().hex[:12]}"
    where, environment = reaching(owner_url)
    try:
        with psycopg.connect(owner_url, autocommit=True) as connection, _slot(connection, slot):
            copy: list[str | Path] = [postgres_program("pg_basebackup"), "-D", folder / DATA, "-Xnone", "-cfast"]
            run([*copy, *where], environment)
            manifest = _name_point(owner_url)
            end = connection.execute("SELECT pg_switch_wal()::text").fetchone()
            segments = folder / SEGMENTS
            segments.mkdir(mode=0o700)
            receive: list[str | Path] = [postgres_program("pg_receivewal"), "-D", segments, "--slot", slot, "--no-loop"]
            run([*receive, "--endpos", str(end[0]) if end else "", *where], environment)
            _require_log(folder / DATA, segments)
    except psycopg.Error as error:
        raise BackupFailed(f"the database: {str(error).strip()}") from error
    manifest.write(folder)
    return manifest


def _require_log(data: Path, segments: Path) -> None:
    """Raise `BackupFailed` unless the log is there from where the copy begins: it is received without a word if not."""
    begins = _BEGINS.search((data / "backup_label").read_text())
    if begins is None or not any((segments / f"{begins[1]}{end}").exists() for end in ("", PARTIAL)):
        raise BackupFailed(
            "the database dropped log that the copy needs while it was made; a larger max_slot_wal_keep_size keeps it"
        )


@contextmanager
def _slot(connection: psycopg.Connection, name: str) -> Iterator[None]:
    """Keep the log from here on for as long as the copy takes."""
    connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [name])
    try:
        yield
    finally:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [name])


def _name_point(owner_url: str) -> Manifest:
    """Name a restore point at which nobody writes, and return what the tables hold there."""
    began, stopped = time.monotonic(), 0
    with psycopg.connect(owner_url, autocommit=True) as locking, psycopg.connect(owner_url) as reading:
        locking.isolation_level = reading.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        while (spent := time.monotonic() - began) < _AT_ONCE + _WAITING:
            waits = spent >= _AT_ONCE
            # Of its own for each try: a name that is in the log twice is found where it stands first.
            point = f"penguin-{uuid.uuid4()}"
            tables = tables_of(locking)
            if cleaned := _cleaned(locking, tables):
                _stop_cleaning(locking, cleaned, stopped)
                stopped += 1
            try:
                at = _name_point_once(locking, reading, tables, point, waits=waits)
            except _BUSY:
                time.sleep(random.uniform(*_PAUSES[waits]))  # noqa: S311 - not in step with any writer
            else:
                return Manifest(point, at, digest(reading), reading.info.user, reading.info.dbname)
    raise BackupFailed("no moment was found at which nobody wrote; nothing is lost, so do it again later")


def _name_point_once(
    locking: psycopg.Connection,
    reading: psycopg.Connection,
    tables: Sequence[sql.Identifier],
    point: str,
    *,
    waits: bool,
) -> dt.datetime:
    """Name it, let `reading` see what is there at its moment, and return that moment; raise one of `_BUSY`."""
    lock = sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(tables))
    with locking.transaction():
        # Before the first query, with which the transaction's snapshot is taken.
        if waits:
            locking.execute(f"SET LOCAL statement_timeout = {_WAIT_MS}".encode())
            locking.execute(lock)
            # A point is named or not: there is no giving it up.
            locking.execute("SET LOCAL statement_timeout = 0")
        else:
            locking.execute(lock + sql.SQL(" NOWAIT"))
        row = locking.execute(_POINT, [point]).fetchone()
        if row is None:
            raise BackupFailed("the database names no restore point")
        reading.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(row[0])))
        # The importing transaction has the snapshot from here on.
        reading.execute("SELECT 1")
    moment: dt.datetime = row[1]
    return moment


def _cleaned(connection: psycopg.Connection, tables: Sequence[sql.Identifier]) -> list[sql.Identifier]:
    """Return those of the tables that are being vacuumed, analyzed or indexed."""
    found = (sql.Identifier(schema, name) for schema, name in connection.execute(_CLEANED))
    return [table for table in found if table in tables]


def _stop_cleaning(connection: psycopg.Connection, tables: Sequence[sql.Identifier], stopped: int) -> None:
    """Have tables that are being cleaned left alone for now; raise `BackupFailed` when that was in vain too often."""
    if stopped == _STOPS:
        names = ", ".join(table.as_string(connection) for table in tables)
        raise BackupFailed(f"{names}: vacuumed or indexed, which does not give way; do it again when that is over")
    for table in tables:
        with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
            connection.execute(_WAIT_FOR_CLEANING, [_CLEANING_ENDS_MS])
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(table))
