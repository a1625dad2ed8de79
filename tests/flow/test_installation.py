"""`penguin up` and `penguin down`: everything comes up, and nothing is left behind however it ends."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from control_plane.embedded.installation_record import ProcessMark, mark_of, read_record
from control_plane.processes.places import CHECKOUT, state_dir
from control_plane.providers.local.mounts import mounts_below
from control_plane.providers.local.network import NAMESPACES
from control_plane.providers.local.world import World, processes_in

INSTANCE = f"flow-{os.getpid()}"
_PENGUIN = (sys.executable, "-m", "control_plane.cli.main")
_UP = (*_PENGUIN, "up", "--instance", INSTANCE, "--port", "0")
_DOWN = (*_PENGUIN, "down", "--instance", INSTANCE)


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """The state of an installation of the test's own."""
    yield state_dir(INSTANCE)
    subprocess.run(_DOWN, cwd=CHECKOUT, check=True)
    shutil.rmtree(state_dir(INSTANCE))


@contextmanager
def up() -> Iterator[subprocess.Popen[str]]:
    """Run `penguin up`; the block is entered when it serves."""
    with subprocess.Popen(_UP, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if "Ctrl-C stops everything" in line:
                break
        else:
            pytest.fail("".join(said))
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


def inhabitants(state: Path) -> list[ProcessMark]:
    """Every process in the installation's world, but for those that end while we look."""
    marks = []
    for pid in processes_in([World(state).name]):
        with suppress(ProcessLookupError):
            marks.append(mark_of(pid))
    return marks


def traces(state: Path, before: list[ProcessMark]) -> list[str]:
    """Whatever of the installation can be found on this machine, except the files of its state."""
    world = World(state)
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
    found: list[object] = [mark for mark in before if mark.alive()]
    found += NAMESPACES.glob(f"{world.name}*")
    found += mounts_below(state)
    found += [line for line in routes if f"metric {world.route_metric}" in line]
    found += (state / "run").glob("*.json")
    found += Path("/run").glob(f"penguinmails-{world.id}")
    return [str(trace) for trace in found]


def operators_see_the_fleet(operator_url: str | None) -> object:
    """Make an operator's key at the command line, and use it."""
    create = (*_PENGUIN, "operator-key", "create", "flow", "--instance", INSTANCE)
    key = subprocess.run(create, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()
    answer = httpx.get(f"{operator_url}/operator/v1/fleet", headers={"Authorization": f"Bearer {key}"})
    return answer.json()


def test_it_serves_refuses_a_second_one_and_is_taken_down_whole(state: Path) -> None:
    with up() as process:
        record = read_record(state)
        assert record
        assert httpx.get(f"{record.rest_url}/healthz").status_code == 200
        assert operators_see_the_fleet(record.operator_url) == {"items": [], "next": None}
        assert httpx.get(f"{record.rest_url}/operator/v1/fleet").status_code == 404
        second = subprocess.run(_UP, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert (second.returncode, "runs already" in second.stderr) == (1, True)
        running = inhabitants(state)
        assert len(running) >= 9
        subprocess.run(_DOWN, cwd=CHECKOUT, check=True)
        assert process.wait(5) == 128 + signal.SIGTERM
        assert traces(state, running) == []
        for url in (record.rest_url, record.operator_url):
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{url}/healthz")


def test_after_a_kill_down_sweeps_up(state: Path) -> None:
    with up() as process:
        running = inhabitants(state)
        process.kill()
        process.wait()
    subprocess.run(_DOWN, cwd=CHECKOUT, check=True)
    assert traces(state, running) == []
