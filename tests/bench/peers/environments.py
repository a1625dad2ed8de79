"""Each peer in a Python environment of its own, made from its lock with hashes checked, and reused while that stays."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control_plane.processes.places import CHECKOUT, HOME

_LOCKS = CHECKOUT / "tests" / "bench" / "requirements"
_PROGRAMS = CHECKOUT / "tests" / "bench" / "peers"
#: Seconds for one round of a peer, its start included.
_PATIENCE = 120.0


def environment(peer: str) -> Path:
    """Return the peer's Python, after making its environment if need be."""
    lock = _LOCKS / f"{peer}.lock"
    place = HOME / "peers" / peer
    python, stamp = place / "bin" / "python", place / "lock.sha256"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "-q", "--python", sys.executable, str(place)])
        _run([*uv, "pip", "install", "-q", "--python", str(python), "--require-hashes", "-r", str(lock)])
        stamp.write_text(wanted)
    return python


def run_peer(peer: str, program: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Run a program of `tests/bench/peers` in the peer's environment and return the object that it prints."""
    command = [str(environment(peer)), str(_PROGRAMS / program), json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode != 0 or not done.stdout:
        raise RuntimeError(f"{program} failed ({done.returncode}): {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, cwd=CHECKOUT, stdout=sys.stderr)
