"""One systemd-nspawn process: started, watched, killed.

nspawn tells the pid of the container's first process by sd_notify(3), so nothing is polled. When the daemon is killed,
nspawn dies with it, but what is in the container runs on until the next daemon ends it (`World.clear_servers`). nspawn
gets an environment of its own: the daemon's may hold secrets.

SECURITY: uids inside are uids outside (an overlay cannot be id-mapped), so root in a container is root on this machine,
behind nspawn's namespaces and capability bounds: local servers are for one's own software, not for strangers'.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from control_plane.providers.base import ProviderError

_PROPAGATE = Path("/run/systemd/nspawn/propagate")
_LEADER_KEY = "X_NSPAWN_LEADER_PID="
_START_SECONDS = 20.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def leader_in(notification: bytes) -> int | None:
    """Return the pid of the container's first process, if this sd_notify message holds it."""
    for line in notification.decode(errors="replace").splitlines():
        if line.startswith(_LEADER_KEY):
            return int(line.removeprefix(_LEADER_KEY))
    return None


def escape_colons(path: Path) -> str:
    """Return a path as systemd-nspawn(1) wants it in `--bind=`, where a colon ends it."""
    return str(path).replace("\\", "\\\\").replace(":", "\\:")


def remove_leftovers(prefix: str) -> None:
    """Remove what nspawn keeps in /run for containers of this prefix; one that was killed leaves it there."""
    for folder in _PROPAGATE.glob(f"{prefix}*"):
        shutil.rmtree(folder)


class _Notifications(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.leader: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr
        leader = leader_in(data)
        if leader is not None and not self.leader.done():
            self.leader.set_result(leader)


class Container:
    """A running container; made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, leader: int) -> None:
        self._process = process
        #: Pid of the container's first process, seen from outside.
        self.leader = leader
        # a file descriptor means this process for ever; its pid may be another's later
        self._leader_fd = os.pidfd_open(leader)

    @classmethod
    async def start(cls, name: str, options: Sequence[str], cgroups: Sequence[Path], console: Path) -> "Container":
        """Start nspawn with these options; return when the container's first process runs.

        Raises `ProviderError` with the console's last lines when it ends before that or takes over 20 s.
        """
        loop = asyncio.get_running_loop()
        transport, notifications = await loop.create_datagram_endpoint(
            _Notifications, local_addr=f"\0{name}/notify", family=socket.AF_UNIX
        )
        try:
            process = await _spawn(name, options, cgroups, console)
            leader = await _leader_of(process, notifications, console)
        finally:
            transport.close()
        return cls(process, leader)

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process; nothing happens when it has ended."""
        try:
            signal.pidfd_send_signal(self._leader_fd, number)
        except ProcessLookupError:
            return

    async def ended(self) -> int:
        """Wait until the container has ended; return nspawn's exit status (133: start it again). Call it once."""
        status = await self._process.wait()
        os.close(self._leader_fd)
        return status


async def _spawn(
    name: str, options: Sequence[str], cgroups: Sequence[Path], console: Path
) -> asyncio.subprocess.Process:
    with console.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "control_plane.providers.local.enter_cgroups"),
            *(*map(str, cgroups), "--"),
            *("systemd-nspawn", "--quiet", f"--machine={name}", "--register=no", "--keep-unit", "--link-journal=no"),
            *("--resolv-conf=off", "--timezone=off", "--console=pipe"),
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={
                "PATH": _PATH,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "NOTIFY_SOCKET": f"@{name}/notify",
                # a lock file would outlive a killed nspawn; nobody else starts containers on these roots
                "SYSTEMD_NSPAWN_LOCK": "0",
            },
            start_new_session=True,
        )


async def _leader_of(process: asyncio.subprocess.Process, notifications: _Notifications, console: Path) -> int:
    ended = asyncio.ensure_future(process.wait())
    await asyncio.wait({notifications.leader, ended}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if notifications.leader.done():
        ended.cancel()
        return notifications.leader.result()
    if not ended.done():
        process.kill()
        await ended
    raise ProviderError(f"the container did not start:\n{last_lines(console, 5)}")


def last_lines(console: Path, count: int) -> str:
    """Return the last lines of a console's log."""
    if not console.exists():
        return ""
    return "\n".join(console.read_text(errors="replace").splitlines()[-count:])
