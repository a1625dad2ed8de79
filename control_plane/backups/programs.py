"""Programs that backups are made with: PostgreSQL's own and restic, each run to its end."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import make_url

from control_plane.embedded.postgres import binaries
from control_plane.errors import PenguinError

_TOLD_LINES = 3


class BackupFailed(PenguinError):
    """A backup, a restore or a test of one did not work."""


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Return what a program printed; raise `BackupFailed` with its last words when it fails or is missing."""
    words = [os.fspath(word) for word in command]
    if shutil.which(words[0]) is None:
        raise BackupFailed(f"{Path(words[0]).name} is not installed on this machine")
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment, errors="replace"
    )
    if done.returncode != 0:
        last = " | ".join(done.stderr.strip().splitlines()[-_TOLD_LINES:]) or "without a word"
        raise BackupFailed(f"{Path(words[0]).name} {words[1]} failed ({done.returncode}): {last}")
    return done.stdout


def reaching(url: str) -> tuple[list[str], dict[str, str]]:
    """Return how a program of PostgreSQL's is told of a server: options, and an environment that has the password."""
    parts = make_url(url)
    password = {"PGPASSWORD": str(parts.password)} if parts.password else {}
    options = ["--no-password", "-d", parts._replace(password=None).render_as_string()]
    return options, {**os.environ, **password}


def postgres_program(name: str) -> Path:
    """Return a program of the newest PostgreSQL on this machine."""
    return binaries(Path("/nonexistent")) / name
