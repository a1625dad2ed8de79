"""The log of a real PostgreSQL, of which it kept too little for who receives it: it begins again, with a whole copy."""

import asyncio
import datetime as dt
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from control_plane.backups import base
from control_plane.backups.base import Manifest, take_copy
from control_plane.backups.programs import BackupFailed
from control_plane.backups.receiver import LogReceived, log_received, wrong_with_log
from control_plane.backups.repository import BASE
from control_plane.backups.restore import restore
from control_plane.backups.segments import SLOT, goes_on, make_slot
from control_plane.backups.vault import Vault
from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.processes.backups import Backups
from control_plane.settings import Settings
from db.migrations.run import upgrade
from db.session import Database

_STATUS = "SELECT wal_status FROM pg_replication_slots WHERE slot_name LIKE %s"
_FISH = "INSERT INTO fish SELECT %s, repeat(md5(g::text), 30) FROM generate_series(1, %s) g"

_NAME_POINT = base._name_point


class KeepsLittle(EmbeddedPostgres):
    """A cluster that keeps little of its log for who stays away; a copy takes less."""

    def _command(self) -> list[str]:
        command = [word.replace("slot_wal_keep_size=8GB", "slot_wal_keep_size=64MB") for word in super()._command()]
        return [*command, *("-c", "min_wal_size=32MB", "-c", "max_wal_size=48MB")]


class Looks(threading.Event):
    """Has the process look after each of what is done while it runs, and end after the last of it."""

    def __init__(self, *meanwhile: Callable[[], None], last: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._meanwhile = list(meanwhile)
        self._last = last

    def wait(self, timeout: float | None = None) -> bool:
        if self._meanwhile:
            self._meanwhile.pop(0)()
            return False
        if self._last:
            self._last()
        return True


@pytest.fixture
def state() -> Iterator[Path]:
    """A short path; a socket's must be."""
    with tempfile.TemporaryDirectory(prefix="penguin-log-") as path:
        yield Path(path)


@pytest.fixture
def url(state: Path) -> Iterator[str]:
    """The owner's URL of a database that keeps little of its log."""
    running = KeepsLittle(state / "postgres", state / "sockets")
    running.start()
    try:
        upgrade(running.url(OWNER))
        with psycopg.connect(running.url(OWNER)) as connection:
            connection.execute("CREATE TABLE fish (what text, scales text)")
        yield running.url(OWNER)
    finally:
        running.stop()


@pytest.fixture
def vault(state: Path) -> Vault:
    return Vault(state)


@pytest.fixture
def process(state: Path, url: str) -> Backups:
    return Backups(Settings.model_validate({"state_dir": state, "owner_database_url": url}))


def test_a_log_that_the_database_dropped_begins_again_and_no_restore_crosses_the_gap(
    state: Path, url: str, vault: Vault, process: Backups
) -> None:
    moments = []

    def go_on_after_the_last_look() -> None:
        caught(url, "not shipped")
        moments.append(now(url))
        caught(url, "too late")

    process.run(Looks(nothing, lambda: caught(url, "shipped"), last=go_on_after_the_last_look))
    [first] = vault.repository.snapshots(BASE)
    lose(url)
    assert "dropped log that nobody had received" in wrong_with_log(received(url))
    between = now(url)

    process.run(Looks(nothing, lambda: caught(url, "later")))

    assert wrong_with_log(LogReceived(is_active=True, behind=behind(url))) == ""
    assert len(vault.repository.snapshots(BASE)) == 2
    assert goes_on(url, vault.segments)
    with pytest.raises(BackupFailed, match="does not start"):
        restore(vault, state / "restored", moment=between)
    assert not (state / "restored").exists()
    assert "recovery ended before configured recovery target was reached" in vault.log.read_text()
    restored = restore(vault, state / "restored", moment=moments[0])
    assert (restored.snapshot, kinds_in(state)) == (first.id, {"shipped", "not shipped"})


def test_after_the_gap_all_is_restored_by_the_copy_that_came_with_the_new_log(
    state: Path, url: str, vault: Vault, process: Backups
) -> None:
    process.run(Looks(lambda: caught(url, "received")))
    lose(url)
    process.run(Looks(nothing, lambda: caught(url, "later")))

    restore(vault, state / "restored")

    assert kinds_in(state) == {"received", "lost", "later"}


def test_a_copy_that_did_not_come_about_stays_wanted(url: str, vault: Vault, process: Backups) -> None:
    process.run(Looks(lambda: caught(url, "received")))
    before = vault.repository.snapshots(BASE)
    lose(url)

    # Whoever did this has crashed.
    vault.begin_log_again(url)
    process.run(Looks(nothing))

    assert len(vault.repository.snapshots(BASE)) == len(before) + 1
    process.run(Looks(nothing))
    assert len(vault.repository.snapshots(BASE)) == len(before) + 1


def test_where_somebody_dropped_the_slot_the_receiver_that_asks_for_it_in_vain_gives_way(
    url: str, vault: Vault, process: Backups
) -> None:
    def drop_it() -> None:
        await_received(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots")
            # It is asked for again after five seconds.
            connection.execute("SELECT pg_drop_replication_slot(%s)", [SLOT])

    process.run(Looks(drop_it, lambda: caught(url, "later")))

    assert goes_on(url, vault.segments)
    assert not vault.copy_wanted.exists()


def test_a_slot_that_nobody_has_used_yet_is_not_lost(url: str, vault: Vault) -> None:
    vault.make()
    make_slot(url, vault.segments)

    assert received(url) == LogReceived(is_active=False, behind=None)
    assert "nobody receives" in wrong_with_log(received(url))
    assert goes_on(url, vault.segments)


def test_a_copy_whose_log_was_dropped_while_it_was_made_is_none(
    state: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_point(owner_url: str) -> Manifest:
        lose(owner_url, "penguin_copy_%")
        return _NAME_POINT(owner_url)

    monkeypatch.setattr(base, "_name_point", name_point)
    with pytest.raises(BackupFailed, match="dropped log that the copy needs"):
        take_copy(url, state / "copy")


def nothing() -> None:
    """Look at once."""


def now(url: str) -> dt.datetime:
    """Return the database's time, at which nobody commits."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: dt.datetime = row[0]
    return moment


def received(url: str) -> LogReceived | None:
    async def asked() -> LogReceived | None:
        database = Database(url, pool_size=1)
        try:
            async with database.system() as session:
                return await log_received(session)
        finally:
            await database.close()

    return asyncio.run(asked())


def behind(url: str) -> int:
    told = received(url)
    assert told is not None
    assert told.behind is not None
    return told.behind


def caught(url: str, what: str) -> None:
    """Have some fish, and wait until the log has them where it is received."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FISH, [what, 100])
    await_received(url)


def await_received(url: str) -> None:
    deadline = time.monotonic() + 60
    while (told := received(url)) is None or not told.is_active or told.behind != 0:
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def lose(url: str, slot: str = SLOT) -> None:
    """Write until the database gives up keeping the log."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(20):
            connection.execute(_FISH, ["lost", 10_000])
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
            if connection.execute(_STATUS, [slot]).fetchone() == ("lost",):
                return
    pytest.fail("the database keeps all of it")


def kinds_in(state: Path) -> set[str]:
    """Return what fish a restored database has."""
    server = EmbeddedPostgres(state / "restored", state / "beside")
    server.start()
    try:
        with psycopg.connect(server.url(OWNER)) as connection:
            return {str(what) for (what,) in connection.execute("SELECT DISTINCT what FROM fish")}
    finally:
        server.stop()
