"""Control groups of the local world: one for each server, so that two systemds never share one.

On a machine with both hierarchies (version 1 with `systemd` and `unified` beside the controllers) a server needs its
group in both; on a pure version 2 machine there is one. No limits are set.
"""

import contextlib
import os
import time
from pathlib import Path

from control_plane.providers.base import ProviderError

_ROOT = Path("/sys/fs/cgroup")
_EMPTYING_SECONDS = 5.0
_POLL_SECONDS = 0.01


def hierarchies(root: Path = _ROOT) -> list[Path]:
    """Return where systemd keeps its groups on this machine."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return [each for each in (root / "systemd", root / "unified") if each.exists()]


def create(world: str, server: str) -> list[Path]:
    """Make the groups of one server and return them."""
    groups = [root / world / server for root in hierarchies()]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups


def remove_tree(world: str, server: str = "") -> None:
    """Remove the groups of one server, or (without `server`) of the whole world; the processes must have been killed.

    A killed process leaves its group a moment later, so this waits up to 5 s. Raises `ProviderError` after that.
    """
    deadline = time.monotonic() + _EMPTYING_SECONDS
    for top in (root / world / server for root in hierarchies()):
        while top.exists():
            for path, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
            if top.exists():
                if time.monotonic() > deadline:
                    raise ProviderError(f"processes are left in {top}")
                time.sleep(_POLL_SECONDS)
