"""`lock`: the requirements, pinned with versions and hashes."""

import subprocess
import sys

from control_plane.cli.output import say
from control_plane.errors import PenguinError
from control_plane.processes.places import CHECKOUT

#: By folder. The benches' peers have an environment each.
NAMES = {
    "requirements": ("agent", "control-plane", "dev", "client-generator"),
    "tests/bench/requirements": ("aiosmtplib", "celery", "pgqueuer", "procrastinate", "taskiq"),
}
#: For all platforms at once, without the index's address.
_COMPILE = (
    *("-m", "uv", "pip", "compile", "-q", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--custom-compile-command", "./penguin lock"),
)


class LockFailed(PenguinError):
    """The requirements cannot be pinned; uv's words are above."""


def lock() -> None:
    """Pin the requirements anew: each .lock from the .in beside it."""
    for stem in (f"{folder}/{name}" for folder, names in NAMES.items() for name in names):
        source, target = f"{stem}.in", f"{stem}.lock"
        command = [sys.executable, *_COMPILE, source, "-o", target]
        if subprocess.run(command, cwd=CHECKOUT, check=False, stdout=subprocess.DEVNULL).returncode != 0:
            raise LockFailed(f"uv could not pin {source}; its words are above")
        say(f"pinned {target}")
