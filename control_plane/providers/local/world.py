"""The namespace that an installation's whole local world lives in.

`World(state_dir).create()` locks the host's way to the world's addresses, then makes the namespace and its bridge.
Whoever talks to servers is started with `enter` in front of its command. `destroy()` takes everything away again, also
what a killed installation left: every process in the world's namespaces, its mounts, control groups, namespaces and its
route on the host. Disks of servers stay on disk.

SECURITY: needs root. A namespace without a way out is what keeps packets for servers on this machine.
"""

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from control_plane.providers.base import ProviderError
from control_plane.providers.local import cgroups, network
from control_plane.providers.local.container import remove_leftovers
from control_plane.providers.local.mounts import unmount_below

_PROC = Path("/proc")
_GRACE_SECONDS = 5.0
#: inotify(7) instances that all processes of one user may have, which is root for every server here. The kernel's 128
#: are used up by fifteen servers; then a unit whose pid file systemd waits for fails.
_WATCHERS_LIMIT = _PROC / "sys/fs/inotify/max_user_instances"
_WATCHERS_NEEDED = 8192
_POLL_SECONDS = 0.01


class World:
    """One installation's network namespace and all that belongs to it, found by the id of its state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.resolve()
        #: 8 hexadecimal digits.
        self.id = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:8]
        #: Name of the namespace, the control group, and the beginning of each server's namespace.
        self.name = f"pgn-{self.id}"

    @property
    def enter(self) -> list[str]:
        """What to put in front of a command that shall run inside the world (`ip netns exec` would remount /sys)."""
        return ["nsenter", f"--net={network.NAMESPACES / self.name}", "--"]

    @property
    def directory(self) -> Path:
        """Where disks, consoles and the nameserver's zones are kept."""
        return self.state_dir / "local"

    @property
    def route_metric(self) -> int:
        """The metric of this world's route on the host, its own so that worlds remove only theirs."""
        return 1 + int(self.id, 16) // 2

    def server_namespace(self, address_part: str) -> str:
        """Return the name of the namespace of one server, by a part that is unique in this world."""
        return f"{self.name}-{address_part}"

    def create(self) -> None:
        """Make the world, after removing what an installation that was killed has left of it."""
        self.destroy()
        _allow_watchers()
        network.add_unreachable_route(self.route_metric)
        network.create_namespace(self.name)
        network.create_bridge(self.name)

    def destroy(self) -> None:
        """Remove every trace of the world from the machine, except the files below `directory`; may be repeated.

        A limit of the kernel's that `create` raised stays as it is: other worlds may count on it.

        Not for a process inside the world: it would end itself.
        """
        # whoever could start something again ends first
        _end_processes([self.name])
        self.clear_servers()
        network.delete_namespace(self.name)
        network.delete_unreachable_route(self.route_metric)

    def clear_servers(self) -> None:
        """Remove what servers that ran leave on the machine: processes, mounts, control groups and namespaces."""
        namespaces = self._server_namespaces()
        _end_processes(namespaces)
        unmount_below(self.directory)
        cgroups.remove_tree(self.name)
        network.pull_all_cables(self.name)
        remove_leftovers(f"{self.name}-")
        for name in namespaces:
            network.delete_namespace(name)

    def _server_namespaces(self) -> list[str]:
        return sorted(each.name for each in network.NAMESPACES.glob(f"{self.name}-*"))


def processes_in(namespaces: Iterable[str]) -> list[int]:
    """Return the pids of all processes in the named network namespaces, whoever started them."""
    wanted = {_identity(network.NAMESPACES / name) for name in namespaces} - {None}
    return [pid for pid in _all_pids() if _identity(_PROC / str(pid) / "ns" / "net") in wanted]


def _allow_watchers() -> None:
    if int(_WATCHERS_LIMIT.read_text()) < _WATCHERS_NEEDED:
        _WATCHERS_LIMIT.write_text(str(_WATCHERS_NEEDED))


def _end_processes(namespaces: Sequence[str]) -> None:
    deadline = time.monotonic() + _GRACE_SECONDS
    while pids := processes_in(namespaces):
        if os.getpid() in pids:
            raise ProviderError("the world cannot be destroyed from inside")
        if time.monotonic() > deadline:
            raise ProviderError(f"processes {pids} of the local world do not end")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())


def _identity(namespace: Path) -> tuple[int, int] | None:
    try:
        found = namespace.stat()
    except OSError:
        # the process or the namespace has just gone, or it is a zombie
        return None
    return found.st_dev, found.st_ino
