"""Backups of a real PostgreSQL, by real restic: taken, listed, tested, damaged, restored."""

import datetime as dt
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from control_plane.backups import base
from control_plane.backups.base import DATA, take_copy
from control_plane.backups.programs import BackupFailed
from control_plane.backups.repository import BASE
from control_plane.backups.restore import restore
from control_plane.backups.vault import Vault
from control_plane.embedded.postgres import OWNER, EmbeddedPostgres

_NAME_POINT_ONCE = base._name_point_once


@pytest.fixture
def state() -> Iterator[Path]:
    """A short path; a socket's must be."""
    with tempfile.TemporaryDirectory(prefix="penguin-backup-") as path:
        yield Path(path)


@pytest.fixture
def server(state: Path) -> Iterator[EmbeddedPostgres]:
    """A small cluster of the test's own."""
    running = EmbeddedPostgres(state / "postgres", state / "sockets")
    running.start()
    with psycopg.connect(running.url(OWNER)) as connection:
        connection.execute(
            "CREATE TABLE fish AS SELECT g AS id, 'herring ' || g AS name FROM generate_series(1, 1000) g"
        )
    yield running
    running.stop()


@pytest.fixture
def vault(state: Path) -> Vault:
    return Vault(state)


def test_what_was_backed_up_is_restored_to_the_row_beside_the_running_database(
    vault: Vault, server: EmbeddedPostgres
) -> None:
    saved = vault.back_up(server.url(OWNER))
    with psycopg.connect(server.url(OWNER)) as connection:
        connection.execute("UPDATE fish SET name = 'later'")

    tested = vault.test()

    assert tested.snapshot == saved
    assert (tested.wrong, tested.tables, tested.rows) == ((), 1, 1000)


@pytest.mark.parametrize("at_once", [60.0, 0.0])
def test_a_writer_who_goes_on_to_another_table_is_not_failed_for_a_copy(
    vault: Vault, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, at_once: float
) -> None:
    tried = threading.Event()

    def name_point_once(*arguments: Any, **options: Any) -> dt.datetime:  # noqa: ANN401 - as it is called
        try:
            return _NAME_POINT_ONCE(*arguments, **options)
        finally:
            tried.set()

    monkeypatch.setattr(base, "_AT_ONCE", at_once)
    monkeypatch.setattr(base, "_name_point_once", name_point_once)
    with psycopg.connect(server.url(OWNER)) as connection:
        connection.execute("CREATE TABLE anchor AS SELECT 0 AS n")
    with ThreadPoolExecutor(1) as beside, psycopg.connect(server.url(OWNER)) as writer:
        # Tables are locked by their names: it could have the anchor, and not the fish.
        writer.execute("UPDATE fish SET name = 'before'")
        saving = beside.submit(vault.back_up, server.url(OWNER))
        assert tried.wait(60)

        writer.execute("UPDATE anchor SET n = n + 1")
        writer.commit()

        saved = saving.result(timeout=60)
    tested = vault.test()
    assert (tested.snapshot, tested.wrong, tested.tables, tested.rows) == (saved, (), 2, 1001)


def test_a_copy_is_made_where_somebody_always_writes(
    vault: Vault, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_AT_ONCE", 1.0)
    saved = threading.Event()

    def write(begun: threading.Semaphore, other_begun: threading.Semaphore) -> None:
        """Begin to write, and end when the other has begun, or is kept from it."""
        with psycopg.connect(server.url(OWNER)) as writer:
            while not saved.is_set():
                writer.execute("UPDATE fish SET name = 'often' WHERE false")
                begun.release()
                other_begun.acquire(timeout=0.05)
                writer.commit()

    # The first has begun already when the second does so for the first time.
    one, other = threading.Semaphore(0), threading.Semaphore(0)
    with ThreadPoolExecutor(2) as writers:
        writing = [writers.submit(write, one, other)]
        assert one.acquire(timeout=60)
        writing.append(writers.submit(write, other, one))
        try:
            vault.back_up(server.url(OWNER))
        finally:
            saved.set()
        for each in writing:
            each.result(timeout=60)


def test_postgresqls_own_cleaning_gives_way_to_a_copy(vault: Vault, server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url(OWNER), autocommit=True) as connection:
        # A vacuum that would take minutes, begun at once.
        for setting in (
            "autovacuum_naptime = 1",
            "autovacuum_vacuum_cost_delay = 100",
            "autovacuum_vacuum_cost_limit = 1",
        ):
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("INSERT INTO fish SELECT g, repeat('x', 500) FROM generate_series(1, 50000) g")
        connection.execute("ALTER TABLE fish SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)")
        connection.execute("DELETE FROM fish WHERE name LIKE 'x%'")
        until(connection, "SELECT 1 FROM pg_stat_progress_vacuum")

        vault.back_up(server.url(OWNER))

    assert vault.test().wrong == ()


def test_a_copy_says_which_table_is_not_let_go_and_holds_its_writers_for_moments(
    vault: Vault, server: EmbeddedPostgres
) -> None:
    with psycopg.connect(server.url(OWNER)) as indexing:
        # As a VACUUM or an index made by hand has it.
        indexing.execute("LOCK TABLE fish IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(BackupFailed, match=r'"public"\."fish": vacuumed or indexed'):
            vault.back_up(server.url(OWNER))


def until(connection: psycopg.Connection, question: str) -> None:
    """Wait until it has an answer."""
    deadline = time.monotonic() + 60
    while connection.execute(question.encode()).fetchone() is None:
        assert time.monotonic() < deadline, question
        time.sleep(0.01)


def test_a_copy_of_a_postgresql_of_yours_is_tried_as_any_and_not_put_in_place_of_an_installations_own(
    vault: Vault, state: Path
) -> None:
    yours = EmbeddedPostgres(state / "yours", state / "sockets", owner="postgres", database="mail")
    yours.start()
    try:
        with psycopg.connect(yours.owner_url) as connection:
            connection.execute("CREATE TABLE fish AS SELECT 'herring' AS name")
        take_copy(yours.owner_url, state / "copy")
    finally:
        yours.stop()
    for name in ("postgresql.conf", "pg_hba.conf"):
        # On Debian they lie in /etc, and are in no copy.
        (state / "copy" / DATA / name).unlink()
    vault.make()
    vault.repository.prepare()
    saved = vault.repository.save(state / "copy", BASE)

    tested = vault.test()

    assert (tested.snapshot, tested.wrong, tested.tables, tested.rows) == (saved, (), 1, 1)
    with pytest.raises(BackupFailed, match="of a PostgreSQL of yours"):
        restore(vault, state / "postgres")
