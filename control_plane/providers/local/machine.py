"""One local server: disk, network cable, and the container that runs on them.

A machine is `attached` (disk mounted, network there) from the daemon's start to its end, and runs or not in between.
Power is cut by killing the container's first process; `reboot` inside makes nspawn end with 133, and then the machine
is started again on the same disk, as a cloud does.
"""

import asyncio
import dataclasses
import ipaddress
import logging
import signal
from pathlib import Path

from control_plane.providers.base import PowerState, ProviderError, ProviderServer, ServerOrder
from control_plane.providers.local import cgroups, disk, network
from control_plane.providers.local.container import Container, last_lines
from control_plane.providers.local.kept_container import KeptContainer
from control_plane.providers.local.record import ServerRecord, load_leader, save_leader, save_record, servers_dir
from control_plane.providers.local.world import World

log = logging.getLogger(__name__)

#: What systemd-nspawn returns when the container asked to be started again, and when it was switched off from inside.
_EXIT_REBOOT = 133
_EXIT_POWEROFF = 0
#: systemd(1): SIGRTMIN+5 starts reboot.target.
_SIGNAL_REBOOT = signal.SIGRTMIN + 5
_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")


def machine_shell(state_dir: Path, name: str) -> list[str]:
    """Return what to put in front of a command that shall run inside a server, as its root.

    Raises `ProviderError` when the server does not run.
    """
    leader = load_leader(servers_dir(World(state_dir).directory) / name)
    spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
    return ["nsenter", "--target", str(leader.pid), *spaces, "--", "env", "-i", *_ENVIRONMENT]


class Machine:
    """One server of the daemon's. Calls that change it take `lock`."""

    def __init__(self, world: World, record: ServerRecord) -> None:
        self._world = world
        self.record = record
        self.folder = servers_dir(world.directory) / record.name
        #: One change at a time.
        self.lock = asyncio.Lock()
        self._unique = record.address.packed[2:].hex()
        self._container = KeptContainer(self._begin, lambda status: status == _EXIT_REBOOT, self._ended, 0.0)

    @property
    def power(self) -> PowerState:
        """Whether it runs; a reboot does not count as off."""
        return PowerState.RUNNING if self._container.running else PowerState.OFF

    def as_server(self) -> ProviderServer:
        """Return it as callers of the provider know it."""
        return self.record.as_server(self.power)

    async def build(self, order: ServerOrder, image: Path) -> None:
        """Make disk and network of a new server."""
        await asyncio.to_thread(self._build, order, image)

    def _build(self, order: ServerOrder, image: Path) -> None:
        self.folder.mkdir(mode=0o700, parents=True)
        self._write_disk(order.user_data, image)
        network.plug_in(self._world.name, self._namespace, self.record.address)
        save_record(self.folder, self.record)

    async def rebuild(self, user_data: str, generation: int, image: Path) -> None:
        """Cut the power and make the disk anew; what was on it is gone. Recorded last, so that a crash repeats it."""
        await self.cut_power()
        await asyncio.to_thread(self._rebuild, user_data, image)
        self.record = dataclasses.replace(self.record, generation=generation)
        save_record(self.folder, self.record)

    def _rebuild(self, user_data: str, image: Path) -> None:
        disk.empty_disk(self.folder)
        self._write_disk(user_data, image)

    def _write_disk(self, user_data: str, image: Path) -> None:
        disk.create_disk(self.folder, image)
        root = self.folder / "root"
        disk.write_first_files(root, self.record.hostname, self.record.address)
        disk.write_seed(root, self.record.provider_id, self.record.hostname, user_data)

    async def attach(self) -> None:
        """Mount the disk and make the network of a server that an earlier daemon has built."""
        await asyncio.to_thread(disk.attach_disk, self.folder)
        await asyncio.to_thread(network.plug_in, self._world.name, self._namespace, self.record.address)

    async def start(self) -> None:
        """Switch on; return when its first process runs. No error when it runs already."""
        await self._container.start()
        self._want(PowerState.RUNNING)

    async def cut_power(self) -> None:
        """Switch off at once: nothing inside gets to finish what it was doing."""
        self._want(PowerState.OFF)
        await self._container.halt()

    def reboot(self) -> None:
        """Ask systemd inside to start again; raise `ProviderError` when it does not run."""
        if not self._container.running:
            raise ProviderError(f"server {self.record.name!r} is off")
        self._container.signal(_SIGNAL_REBOOT)

    def set_network(self, *, connected: bool) -> None:
        """Pull or plug its network cable; a restarted daemon plugs it in again."""
        network.set_cable(self._world.name, self.record.address, connected=connected)

    def set_extra(self, extra: tuple[tuple[str, ipaddress.IPv4Address], ...]) -> None:
        """Let it have these further addresses and no others; its operating system takes them up itself."""
        self.record = dataclasses.replace(self.record, extra=extra)
        save_record(self.folder, self.record)

    def console(self, count: int) -> str:
        """Return the last lines of its console."""
        return last_lines(self._console, count)

    async def detach(self) -> None:
        """Cut the power, unmount and unplug; the disk stays, and the next daemon will start it if it ran."""
        await self._container.halt()
        await asyncio.to_thread(self._detach)

    def _detach(self) -> None:
        cgroups.remove_tree(self._world.name, self._unique)
        network.unplug(self._world.name, self._namespace, self.record.address)
        disk.detach_disk(self.folder)

    async def destroy(self) -> None:
        """Remove it with its disk, whatever state it is in."""
        await self.detach()
        await asyncio.to_thread(disk.remove_disk, self.folder)

    @property
    def _namespace(self) -> str:
        return self._world.server_namespace(self._unique)

    @property
    def _console(self) -> Path:
        return self.folder / "console.log"

    def _want(self, power: PowerState) -> None:
        if self.record.wanted is not power:
            self.record = dataclasses.replace(self.record, wanted=power)
            save_record(self.folder, self.record)

    async def _begin(self) -> Container:
        # systemd leaves groups behind in its own, which would be in the way of the next one
        await asyncio.to_thread(cgroups.remove_tree, self._world.name, self._unique)
        groups = cgroups.create(self._world.name, self._unique)
        options = (
            *("--boot", f"--directory={self.folder / 'root'}", f"--hostname={self.record.hostname}"),
            f"--network-namespace-path={network.NAMESPACES / self._namespace}",
            # its own firewall and addresses are its own affair
            "--capability=CAP_NET_ADMIN",
        )
        container = await Container.start(self._namespace, options, groups, self._console)
        save_leader(self.folder, container.leader)
        return container

    def _ended(self, status: int) -> None:
        log.info("server %s is off (nspawn ended with %d)", self.record.name, status)
        if status == _EXIT_POWEROFF:
            self._want(PowerState.OFF)
