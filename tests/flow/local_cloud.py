"""A local cloud for tests: a world of its own below a temporary directory, its daemon, and a look at what it leaves."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from control_plane.providers.base import ServerOrder
from control_plane.providers.local.image import bake
from control_plane.providers.local.machine import machine_shell
from control_plane.providers.local.mounts import mounts_below
from control_plane.providers.local.network import BRIDGE, NAMESPACES
from control_plane.providers.local.provider import LocalProvider
from control_plane.providers.local.recipes import BOOKWORM
from control_plane.providers.local.world import World, processes_in

CHECKOUT = Path(__file__).parents[2]
IMAGES = CHECKOUT / ".penguin" / "images"

_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 22), timeout=2).close()"


def host_route_to(address: str) -> str:
    """What the host's routing table says of an address; no packet is sent."""
    asked = subprocess.run(["ip", "route", "get", address], capture_output=True, text=True, check=False)
    return asked.stdout + asked.stderr


def order(name: str, user_data: str = "#cloud-config\n") -> ServerOrder:
    return ServerOrder(
        name=name,
        hostname=f"{name}.penguin.example",
        size="starter",
        region="local",
        user_data=user_data,
        labels=(("purpose", "test"),),
    )


async def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once it is so; fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


class LocalCloud:
    """One world with its daemon."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.world = World(state_dir)
        self.socket = state_dir / "cloud.sock"
        self.provider = LocalProvider(self.socket)
        self.daemon: subprocess.Popen[bytes] | None = None

    async def open(self) -> None:
        bake(BOOKWORM, IMAGES, print)
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.world.create()
        await self.start_daemon()

    async def start_daemon(self) -> None:
        self._spawn_daemon()
        await until(self._answers)

    def _spawn_daemon(self) -> None:
        module = "control_plane.providers.local.cloud"
        directories = ["--state-dir", str(self.state_dir), "--images-dir", str(IMAGES), "--socket", str(self.socket)]
        self.daemon = subprocess.Popen([*self.world.enter, sys.executable, "-m", module, *directories], cwd=CHECKOUT)

    def _answers(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, "the daemon has ended"
        return self.socket.exists()

    def stop_daemon(self) -> int:
        assert self.daemon is not None
        self.daemon.terminate()
        return self.daemon.wait(timeout=20)

    def kill_daemon(self) -> None:
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait(timeout=20)
        self.socket.unlink()

    def close(self) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.stop_daemon()
        self.world.destroy()

    def inside(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a server, as root."""
        shell = machine_shell(self.state_dir, name)
        return subprocess.run([*shell, *command], capture_output=True, text=True, timeout=60, check=False)

    async def settled(self, name: str) -> None:
        """Return once cloud-init in the server has done all."""
        done = "/var/lib/cloud/instance/boot-finished"
        await until(lambda: self.inside(name, "test", "-e", done).returncode == 0)

    def connects(self, address: str) -> bool:
        """Whether ssh at an address accepts a connection from the control plane's side of the world."""
        command = [*self.world.enter, sys.executable, "-c", _CONNECT, address]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def world_routes(self) -> list[str]:
        """Where the world can send packets."""
        command = [*self.world.enter, "ip", "-json", "route", "show"]
        return [route["dst"] for route in json.loads(subprocess.run(command, capture_output=True, check=True).stdout)]

    def traces(self) -> dict[str, list[str]]:
        """What of the world can be found on the machine."""
        groups = [
            str(found.relative_to("/sys/fs/cgroup"))
            for hierarchy in ("", "systemd", "unified")
            for found in Path("/sys/fs/cgroup", hierarchy).glob(f"{self.world.name}/*/")
        ]
        namespaces = sorted(each.name for each in NAMESPACES.glob(f"{self.world.name}*"))
        return {
            "namespaces": namespaces,
            "processes": [str(pid) for pid in processes_in(namespaces)],
            "mounts": [str(each) for each in mounts_below(self.state_dir)],
            "control groups": sorted(groups),
            "cables": self._cables() if self.world.name in namespaces else [],
            "routes": self.routes(),
        }

    def routes(self) -> list[str]:
        """The host's routes of this world's metric."""
        command = ["ip", "route", "show", "metric", str(self.world.route_metric)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]

    def _cables(self) -> list[str]:
        command = ["ip", "-n", self.world.name, "-brief", "link", "show", "master", BRIDGE]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return sorted(line.split("@")[0] for line in shown.splitlines())
