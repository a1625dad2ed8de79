"""Segments of PostgreSQL's log (WAL): followed as they are written, and gathered for a recovery."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from control_plane.backups.programs import BackupFailed, postgres_program, reaching, run

SLOT = "penguin_wal"
#: `wal_status` of a slot that the server keeps nothing for any more, and never will again.
LOST = "lost"
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_WHOLE = re.compile(r"[0-9A-F]{24}|[0-9A-F]{8}\.history")
PARTIAL = ".partial"


def make_slot(owner_url: str, folder: Path) -> None:
    """Have the server keep what was not received yet."""
    where, environment = reaching(owner_url)
    receivewal: list[str | Path] = [postgres_program("pg_receivewal"), "-D", folder, "--slot", SLOT]
    run([*receivewal, "--create-slot", "--if-not-exists", *where], environment)


def goes_on(owner_url: str, folder: Path) -> bool:
    """Whether the server keeps what follows on the log in `folder`. Raises `BackupFailed`.

    It does not once it gave the slot up (max_slot_wal_keep_size), nor when the slot of a log that was received is gone.
    """
    with _asking(owner_url) as connection:
        query = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s"
        row = connection.execute(query, [SLOT]).fetchone()
    return row[0] != LOST if row else not _files(folder)


def renew_slot(owner_url: str) -> None:
    """Have the server keep the log from its last checkpoint on, and not what it was to keep before.

    Raises `BackupFailed`.
    """
    with _asking(owner_url) as connection:
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
        connection.execute(drop, [SLOT])
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [SLOT])


def receive(owner_url: str, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start what writes the log to `folder` as the server writes it, each record flushed at once.

    It is the standby `pg_receivewal`: with that in `synchronous_standby_names` no commit returns before it is here. It
    ends when we do.
    """
    where, environment = reaching(owner_url)
    program = [os.fspath(postgres_program("pg_receivewal")), "-D", os.fspath(folder), "--slot", SLOT, "--synchronous"]
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *program, *where],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )


def gather(into: Path, sources: Sequence[Path]) -> None:
    """Copy the segments of all sources, oldest source first: of each name one that is whole; else the latest of it."""
    into.mkdir(mode=0o700, exist_ok=True)
    found = [path for source in sources for path in _files(source)]
    for path in found:
        if _WHOLE.fullmatch(path.name) and not (into / path.name).exists():
            shutil.copyfile(path, into / path.name)
    for path in reversed(found):
        name = path.name.removesuffix(PARTIAL)
        if path.name.endswith(PARTIAL) and _SEGMENT.fullmatch(name) and not (into / name).exists():
            shutil.copyfile(path, into / name)


def drop_before(folder: Path, first: str) -> None:
    """Remove the segments that come before the one of this name, on any timeline."""
    for path in _files(folder):
        if _SEGMENT.fullmatch(path.name) and path.name[8:] < first[8:]:
            path.unlink()


def clear(folder: Path) -> None:
    """Remove all that was received, so that `receive` asks for what the slot keeps and not for what comes after it."""
    for path in _files(folder):
        path.unlink()


def first_segment(folder: Path) -> str:
    """Return the name of the oldest segment in a folder, empty when there is none."""
    names = {path.name.removesuffix(PARTIAL) for path in _files(folder)}
    return min((name for name in names if _SEGMENT.fullmatch(name)), key=lambda name: name[8:], default="")


def number_of(name: str) -> int:
    """Return which segment of the log this is, at PostgreSQL's 16 MiB a segment."""
    return int(name[8:16], 16) << 8 | int(name[16:24], 16)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


@contextmanager
def _asking(owner_url: str) -> Iterator[psycopg.Connection]:
    try:
        with psycopg.connect(owner_url, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        raise BackupFailed(f"the database: {str(error).strip()}") from error
