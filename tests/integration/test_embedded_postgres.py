"""A private PostgreSQL: made, kept, ended."""

import os
import select
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from control_plane.embedded.daemon import EmbeddedFailed
from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.processes.places import CHECKOUT


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that nobody else may enter, as a checkout below a home directory is."""
    with tempfile.TemporaryDirectory(prefix="penguin-pg-") as path:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700
        yield Path(path)


@pytest.fixture
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder / "data", folder / "sockets")
    server.start()
    yield server
    server.stop()


def ask(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.url(OWNER)) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def test_it_keeps_commits_and_speaks_on_its_socket_alone(postgres: EmbeddedPostgres, folder: Path) -> None:
    assert ask(postgres, "SELECT current_database()") == "penguin"
    assert ask(postgres, "SHOW listen_addresses") == ""
    assert ask(postgres, "SHOW fsync") == "on"
    assert ask(postgres, "SHOW synchronous_commit") == "on"
    assert ask(postgres, "SHOW server_encoding") == "UTF8"
    assert ask(postgres, "SELECT datcollate FROM pg_database WHERE datname = 'penguin'") == "C.UTF-8"
    assert stat.S_IMODE((folder / "sockets").stat().st_mode) == 0o700


def test_what_was_written_is_there_after_a_restart(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url(OWNER)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    assert not postgres.running()
    postgres.start()
    assert ask(postgres, "SELECT answer FROM kept") == 42


def test_a_cluster_cut_short_while_it_was_made_is_made_anew(folder: Path) -> None:
    unfinished = folder / "data.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("15\n")
    server = EmbeddedPostgres(folder / "data", folder / "sockets")
    server.start()
    try:
        assert ask(server, "SELECT 1") == 1
    finally:
        server.stop()


def test_one_that_cannot_start_says_why(postgres: EmbeddedPostgres, folder: Path) -> None:
    postgres.stop()
    (folder / "data/postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedFailed, match="no_such_setting"):
        postgres.start()


def test_a_socket_path_that_is_too_long_is_refused_before_anything_is_made(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "data", folder / ("s" * 100))
    with pytest.raises(EmbeddedFailed, match="too long"):
        server.start()
    assert list(folder.iterdir()) == []


_STARTS_AND_WAITS = """
import sys
from pathlib import Path
from control_plane.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]) / "data", Path(sys.argv[1]) / "sockets")
server.start()
print("started", flush=True)
sys.stdin.read()
"""


def test_it_ends_when_whoever_started_it_is_killed(folder: Path) -> None:
    command = [sys.executable, "-c", _STARTS_AND_WAITS, str(folder)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "started\n"
        postmaster = os.pidfd_open(int((folder / "data/postmaster.pid").read_text().splitlines()[0]))
        parent.kill()
        assert select.select([postmaster], [], [], 30)[0], "PostgreSQL still runs"
        os.close(postmaster)
    successor = EmbeddedPostgres(folder / "data", folder / "sockets")
    successor.start()
    successor.stop()
