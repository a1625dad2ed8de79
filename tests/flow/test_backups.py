"""`penguin backup` as its user meets it: saved while it runs, tried, lost, restored, and begun again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from control_plane.processes.places import CHECKOUT, state_dir

INSTANCE = f"flow-backup-{os.getpid()}"
_PENGUIN = (sys.executable, "-m", "control_plane.cli.main")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An installation of the test's own, whose backups go to a folder elsewhere."""
    yield {**os.environ, "PENGUIN_BACKUP_REPOSITORY": str(tmp_path / "elsewhere")}
    subprocess.run([*_PENGUIN, "down", "--instance", INSTANCE], cwd=CHECKOUT, check=True)
    shutil.rmtree(state_dir(INSTANCE))


@contextmanager
def up(environment: dict[str, str]) -> Iterator[None]:
    """Run `penguin up`; the block is entered when it serves."""
    command = [*_PENGUIN, "up", "--instance", INSTANCE, "--port", "0"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if "Ctrl-C stops everything" in line:
                break
        else:
            pytest.fail("".join(said))
        assert any("running:" in line and "backups" in line for line in said)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


def backup(environment: dict[str, str], *words: str) -> Any:  # noqa: ANN401 - JSON
    """Return what a command says as JSON; fail when it does."""
    done = _backup(environment, words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def refusal(environment: dict[str, str], *words: str) -> str:
    """Return why a command fails."""
    done = _backup(environment, words)
    assert done.returncode == 1, f"{words}: {done.stdout}{done.stderr}"
    return done.stderr


def _backup(environment: dict[str, str], words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [*_PENGUIN, "backup", *words, "--json", "--instance", INSTANCE]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(900)
def test_a_stopped_installation_is_restored_whole_and_a_lost_one_waits_for_its_operator(
    environment: dict[str, str],
) -> None:
    state = state_dir(INSTANCE)
    with up(environment):
        assert "nothing was backed up" in refusal(environment, "list")
        backup(environment, "run")
        assert backup(environment, "test")["ok"]
        assert backup(environment, "verify")["ok"]
        assert "base" in {each["what"] for each in backup(environment, "list")}
        assert backup(environment, "status")["wrong"] == ""
        assert "runs" in refusal(environment, "restore")

    restored = backup(environment, "restore")
    assert (restored["is_whole"], restored["held"]) == (True, 0)

    # All is lost but the repository and the keys: nothing is sent before somebody says so.
    shutil.rmtree(state / "postgres")
    shutil.rmtree(state / "backup")
    assert not backup(environment, "restore")["is_whole"]
    with up(environment):
        assert backup(environment, "release") == {"uncertain": 0}
        assert "no restore holds anything" in refusal(environment, "release")
        backup(environment, "run")
