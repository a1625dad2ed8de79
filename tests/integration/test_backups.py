"""Backups of a real PostgreSQL, by real restic: taken, listed, tested, damaged, restored."""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from control_plane.backups.base import DATA, take_copy
from control_plane.backups.programs import BackupFailed
from control_plane.backups.repository import BASE
from control_plane.backups.restore import restore
from control_plane.backups.vault import Vault
from control_plane.embedded.postgres import OWNER, EmbeddedPostgres


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


def test_a_writer_who_goes_on_to_a_table_that_is_locked_already_is_never_failed_for_a_copy(
    vault: Vault, server: EmbeddedPostgres
) -> None:
    with psycopg.connect(server.url(OWNER)) as connection:
        connection.execute("CREATE TABLE anchor AS SELECT 0 AS n")
    with ThreadPoolExecutor(1) as beside, psycopg.connect(server.url(OWNER)) as writer:
        # Tables are locked by their names: it gets the anchor, and waits for the fish.
        writer.execute("UPDATE fish SET name = 'before'")
        saving = beside.submit(vault.back_up, server.url(OWNER))
        _await_waiting(server)

        # They wait for each other now.
        writer.execute("UPDATE anchor SET n = n + 1")
        writer.commit()

        saved = saving.result(timeout=60)
    tested = vault.test()
    assert (tested.snapshot, tested.wrong, tested.tables, tested.rows) == (saved, (), 2, 1001)


def test_a_table_that_is_cleaned_all_the_time_does_not_keep_a_copy_from_being_made(
    vault: Vault, server: EmbeddedPostgres
) -> None:
    with ThreadPoolExecutor(1) as beside, psycopg.connect(server.url(OWNER)) as cleaner:
        # The lock of a VACUUM, for longer than all locks may take together.
        cleaner.execute("LOCK TABLE fish IN SHARE UPDATE EXCLUSIVE MODE")
        saving = beside.submit(vault.back_up, server.url(OWNER))
        _await_waiting(server, seconds=1)
        cleaner.commit()

        saving.result(timeout=60)


def _await_waiting(server: EmbeddedPostgres, seconds: float = 0) -> None:
    """Wait until somebody has waited for a lock for so long."""
    waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND clock_timestamp() - waitstart >= %s * interval '1 s'"
    deadline = time.monotonic() + 60
    with psycopg.connect(server.url(OWNER), autocommit=True) as connection:
        while connection.execute(waits, [seconds]).fetchone() is None:
            assert time.monotonic() < deadline, "nobody waits"
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
