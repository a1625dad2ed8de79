"""Services as their unit files say, without systemd: as nobody, in a root file system where /opt is the checkout."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.flow import deployed_root

CHECKOUT = Path(__file__).parents[2]
UNITS = CHECKOUT / "deploy" / "systemd"
HARDENING = UNITS / "penguinmails-.service.d" / "hardening.conf"
NOBODY = 65534
#: Of a template: what deploy/README.md starts first.
INSTANCE = "8025"
#: What systemd does with the first of a service's sockets.
_AS_FD_3 = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class Service:
    """One service's [Service] section, with what is the same for all of them."""

    name: str
    entries: Sequence[tuple[str, str]]

    @classmethod
    def read(cls, unit: Path) -> "Service":
        entries = [*_section(unit), *_section(HARDENING)]
        return cls(unit.name.removesuffix(".service").rstrip("@"), entries)

    def values(self, key: str) -> list[str]:
        return [value for name, value in self.entries if name == key]

    @property
    def command(self) -> list[str]:
        (line,) = self.values("ExecStart")
        return line.split()

    def environment(self, place: Path, settings: Mapping[str, str]) -> dict[str, str]:
        """Return what the process finds: of the unit's, the drop-in's, then of the environment file, like systemd."""
        meant = {"%d": str(place / "credentials"), "%S": str(place / "state"), "%p": self.name, "%i": INSTANCE}
        unit = {}
        for pair in self.values("Environment"):
            name, _, value = pair.partition("=")
            unit[name] = re.sub("%.", lambda found: meant[found[0]], value)
        return {"PATH": os.environ["PATH"], "CREDENTIALS_DIRECTORY": meant["%d"], **unit, **settings}

    def make_state(self, place: Path) -> None:
        """Make the folders that the unit has made for its user."""
        for name in self.values("StateDirectory"):
            folder = place / "state" / name
            folder.mkdir(parents=True)
            shutil.chown(folder, NOBODY, NOBODY)


def _section(file: Path) -> list[tuple[str, str]]:
    lines = file.read_text().partition("[Service]\n")[2].partition("\n[")[0].splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return [(key, value) for key, _, value in pairs]


def give_credentials(folder: Path, given: Path) -> None:
    """Put a service's credentials where systemd would: for its user alone, as penguin_NAME."""
    folder.mkdir(mode=0o500)
    for secret in given.iterdir():
        file = folder / f"penguin_{secret.name}"
        shutil.copyfile(secret, file)
        file.chmod(0o400)
        shutil.chown(file, NOBODY, NOBODY)
    shutil.chown(folder, NOBODY, NOBODY)


def as_nobody(command: Sequence[str], listener: socket.socket | None) -> list[str]:
    """Return how to run a command where /opt/penguinmails is the checkout, without any right or capability."""
    handed = [sys.executable, "-I", "-c", _AS_FD_3, str(listener.fileno())] if listener else []
    return [
        *("unshare", "--mount", "--propagation", "private"),
        *(sys.executable, "-I", "-S", deployed_root.__file__, str(CHECKOUT), sys.base_prefix),
        *("--", "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--no-new-privs"),
        *("--inh-caps=-all", "--bounding-set=-all", "--", *handed, *command),
    ]


@asynccontextmanager
async def running(
    service: Service, place: Path, settings: Mapping[str, str], listener: socket.socket | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a service, wait until it says that it serves, and see it end well at SIGTERM.

    `place` is a folder that nobody can reach, with the service's credentials.
    """
    service.make_state(place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ready:
        ready.bind(str(place / "ready"))
        (place / "ready").chmod(0o666)
        process = await asyncio.create_subprocess_exec(
            *as_nobody(service.command, listener),
            env={**service.environment(place, settings), "NOTIFY_SOCKET": str(place / "ready")},
            pass_fds=[listener.fileno()] if listener else [],
        )
        try:
            await _until_ready(ready, process)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                status = await process.wait()
    # systemd takes both for a clean end.
    assert status in {0, -signal.SIGTERM}


async def _until_ready(door: socket.socket, process: asyncio.subprocess.Process) -> None:
    """Wait until it says that it serves; fail when it ends instead."""
    said = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(door, 100))
    ended = asyncio.ensure_future(process.wait())
    await asyncio.wait((said, ended), timeout=90, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    said.cancel()
    assert said.done()
    assert said.result() == b"READY=1"
