"""A whole copy of the database, with what it held at one moment.

It is made by `pg_basebackup`, the log up to a named restore point, and a count and hash of each table as of that point.

Writers are held for as long as it takes to name the point: a SHARE lock on all tables, which waits for those in the
middle of a transaction. A writer who waits for one of the tables while it has another would wait in a circle with us:
PostgreSQL looks for circles once somebody has waited for a second (deadlock_timeout), and then it fails one, which may
be the writer. So all locks are there within half a second, or all are given up and asked for again a little later.
Hashes are computed after the locks are gone, in the same snapshot.
"""

import datetime as dt
import json
import random
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from control_plane.backups.digest import TableDigest, digest, tables_of
from control_plane.backups.programs import BackupFailed, postgres_program, reaching, run
from control_plane.embedded.postgres import DATABASE, OWNER

MANIFEST = "manifest.json"
DATA = "data"
#: The log from the copy's beginning to its restore point.
SEGMENTS = "wal"
#: Milliseconds in which all locks must be there.
_LOCKS_MS = 500
#: Milliseconds for the lock of a table that is cleaned just now: PostgreSQL stops its own cleaning for whoever has
#: waited a second. Nothing else is locked meanwhile, so nobody can wait in a circle.
_CLEANED_MS = 3000
#: So often it tries, up to half a second apart: for a minute or two.
_ATTEMPTS = 120
_CLEANED = """
SELECT DISTINCT n.nspname, c.relname
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_BUSY = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
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
            manifest = _name_point(owner_url, f"penguin-{uuid.uuid4()}")
            end = connection.execute("SELECT pg_switch_wal()::text").fetchone()
            segments = folder / SEGMENTS
            segments.mkdir(mode=0o700)
            receive: list[str | Path] = [postgres_program("pg_receivewal"), "-D", segments, "--slot", slot, "--no-loop"]
            run([*receive, "--endpos", str(end[0]) if end else "", *where], environment)
    except psycopg.Error as error:
        raise BackupFailed(f"the database: {str(error).strip()}") from error
    manifest.write(folder)
    return manifest


@contextmanager
def _slot(connection: psycopg.Connection, name: str) -> Iterator[None]:
    """Keep the log from here on for as long as the copy takes."""
    connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [name])
    try:
        yield
    finally:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [name])


def _name_point(owner_url: str, point: str) -> Manifest:
    """Name a restore point at which nobody writes, and return what the tables hold there."""
    with psycopg.connect(owner_url, autocommit=True) as locking, psycopg.connect(owner_url) as reading:
        locking.isolation_level = reading.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for _ in range(_ATTEMPTS):
            try:
                at = _name_point_once(locking, reading, point)
            except _BUSY:
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - so that it does not meet the same writer again
            else:
                return Manifest(point, at, digest(reading), reading.info.user, reading.info.dbname)
    raise BackupFailed("no moment was found at which nobody wrote; nothing is lost, so do it again later")


def _name_point_once(locking: psycopg.Connection, reading: psycopg.Connection, point: str) -> dt.datetime:
    """Name it, let `reading` see what is there at its moment, and return that moment."""
    tables = tables_of(locking)
    _stop_cleaning(locking, tables)
    with locking.transaction():
        locking.execute(f"SET LOCAL statement_timeout = {_LOCKS_MS}".encode())
        # Before the first query, with which the transaction's snapshot is taken.
        locking.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(tables)))
        row = locking.execute(_POINT, [point]).fetchone()
        if row is None:
            raise BackupFailed("the database names no restore point")
        reading.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(row[0])))
        # The importing transaction has the snapshot from here on.
        reading.execute("SELECT 1")
    moment: dt.datetime = row[1]
    return moment


def _stop_cleaning(connection: psycopg.Connection, tables: Sequence[sql.Identifier]) -> None:
    """Have tables that are being vacuumed or analyzed left alone for now."""
    for schema, name in connection.execute(_CLEANED).fetchall():
        if sql.Identifier(schema, name) in tables:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {_CLEANED_MS}".encode())
                connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(schema, name)))
