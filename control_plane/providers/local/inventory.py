"""The servers of one world: who has which name and address, and what may be done to them."""

import asyncio
import ipaddress
import logging
import re
import uuid
from pathlib import Path

from control_plane.providers.base import (
    ExtraAddress,
    PowerState,
    ProviderError,
    ProviderServer,
    ServerOrder,
    refuse_late,
)
from control_plane.providers.local.catalogue import check_region, size_of
from control_plane.providers.local.disk import remove_disk
from control_plane.providers.local.machine import Machine
from control_plane.providers.local.nameserver import Nameserver
from control_plane.providers.local.network import lowest_free
from control_plane.providers.local.record import ServerRecord, load_record, servers_dir
from control_plane.providers.local.world import World

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
#: Linux takes 64 characters; RFC 1123 labels.
_HOSTNAME = re.compile(r"(?=.{1,64}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER_DATA_BYTES = 32 * 1024


def check_order(order: ServerOrder) -> None:
    """Raise `ProviderError` for an order that no cloud would take."""
    size_of(order.size)
    check_region(order.region)
    if not _NAME.fullmatch(order.name):
        raise ProviderError(f"invalid name {order.name!r}: lower-case letters, digits and hyphens, at most 63")
    if not _HOSTNAME.fullmatch(order.hostname):
        raise ProviderError(f"invalid hostname {order.hostname!r}: a lower-case domain name, at most 64 characters")
    _check_user_data(order.user_data)


def _check_user_data(user_data: str) -> None:
    if len(user_data.encode()) > _USER_DATA_BYTES:
        raise ProviderError("user-data is larger than 32 KiB")


class Inventory:
    """All servers of the daemon. The public coroutines are what callers may ask for; see `providers.base`."""

    def __init__(self, world: World, image: Path, nameserver: Nameserver) -> None:
        self._world = world
        self._image = image
        self._nameserver = nameserver
        self._machines: dict[str, Machine] = {}

    async def open(self) -> None:
        """Start the nameserver, and the servers that ran when the last daemon ended.

        Servers that still run, because it was killed, get a power cut first: nobody could follow them to their end.
        """
        await asyncio.to_thread(self._world.clear_servers)
        await self._nameserver.start()
        for folder in sorted(servers_dir(self._world.directory).glob("*/")):
            record = load_record(folder)
            if record is None:
                # its creation was cut short, and its caller has no answer
                await asyncio.to_thread(remove_disk, folder)
            else:
                self._machines[record.name] = Machine(self._world, record)
        await asyncio.gather(*map(self._bring_back, self._machines.values()))

    async def close(self) -> None:
        """Cut the power of all servers and detach them from the machine; the disks stay."""
        await asyncio.gather(*(self._take_down(machine) for machine in self._machines.values()))
        await self._nameserver.stop()

    async def create(self, order: ServerOrder) -> ProviderServer:
        """Create the server; return when it has been started."""
        order.refuse_late()
        check_order(order)
        if order.name in self._machines:
            raise ProviderError(f"a server named {order.name!r} exists already")
        # from here to the first await nobody else runs: name and address are taken together
        machine = self._machines[order.name] = Machine(self._world, self._record_of(order))
        async with machine.lock:
            try:
                await machine.build(order, self._image)
                await machine.start()
            except (ProviderError, OSError) as error:
                # Half a server, such as on a disk that is full, must not be found as if it had been made.
                await machine.destroy()
                del self._machines[order.name]
                if isinstance(error, ProviderError):
                    raise
                raise ProviderError(f"server {order.name!r} cannot be made: {error}") from error
        return machine.as_server()

    async def find(self, name: str) -> ProviderServer | None:
        """Return the server of that name, if there is one."""
        machine = self._machines.get(name)
        return None if machine is None else machine.as_server()

    async def list(self) -> list[ProviderServer]:
        """Return all servers, by name."""
        return [self._machines[name].as_server() for name in sorted(self._machines)]

    async def delete(self, name: str) -> None:
        """Delete the server with its disk and its PTR; no error when it is gone already."""
        machine = self._machines.get(name)
        if machine is None:
            return
        async with machine.lock:
            if self._machines.get(name) is machine:
                for address in machine.record.pointed:
                    await self._nameserver.zones.set_reverse(address, None)
                await machine.destroy()
                del self._machines[name]

    async def power_off(self, name: str) -> None:
        """Cut the power, at once."""
        machine = self._machine(name)
        async with machine.lock:
            await machine.cut_power()

    async def power_on(self, name: str) -> None:
        """Start it."""
        machine = self._machine(name)
        async with machine.lock:
            await machine.start()

    async def reboot(self, name: str) -> None:
        """Ask the operating system to start again."""
        self._machine(name).reboot()

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        """Start again from an empty disk with the same addresses, unless that `generation` was built already."""
        refuse_late(begin_before)
        _check_user_data(user_data)
        machine = self._machine(name)
        async with machine.lock:
            if machine.record.generation < generation:
                await machine.rebuild(user_data, generation, self._image)
            await machine.start()

    async def cut_network(self, name: str) -> None:
        """Pull the server's network cable."""
        self._machine(name).set_network(connected=False)

    async def restore_network(self, name: str) -> None:
        """Plug the server's network cable in again."""
        self._machine(name).set_network(connected=True)

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Set or (with None) remove the PTR of one of the server's addresses."""
        if ipv4_address not in self._machine(name).record.pointed:
            raise ProviderError(f"{ipv4_address} is not an address of server {name!r}")
        await self._nameserver.zones.set_reverse(ipv4_address, hostname)

    async def add_address(self, name: str, label: str) -> ExtraAddress:
        """Return the server's address of that label, giving it one when there is none."""
        if not _NAME.fullmatch(label):
            raise ProviderError(f"invalid label {label!r}: lower-case letters, digits and hyphens, at most 63")
        machine = self._machine(name)
        async with machine.lock:
            extra = dict(machine.record.extra)
            if label not in extra:
                extra[label] = lowest_free(self._taken())
                machine.set_extra(tuple(extra.items()))
        return ExtraAddress(label, str(extra[label]))

    async def remove_address(self, name: str, label: str) -> None:
        """Take the address of that label back with its PTR; no error when it is gone already."""
        machine = self._machines.get(name)
        if machine is None:
            return
        async with machine.lock:
            extra = dict(machine.record.extra)
            if (address := extra.pop(label, None)) is not None:
                await self._nameserver.zones.set_reverse(str(address), None)
                machine.set_extra(tuple(extra.items()))

    async def console(self, name: str, lines: int) -> str:
        """Return the last lines of the server's console."""
        return self._machine(name).console(lines)

    def _machine(self, name: str) -> Machine:
        if name not in self._machines:
            raise ProviderError(f"there is no server named {name!r}")
        return self._machines[name]

    def _taken(self) -> set[ipaddress.IPv4Address]:
        return {address for each in self._machines.values() for address in each.record.addresses}

    def _record_of(self, order: ServerOrder) -> ServerRecord:
        return ServerRecord(
            provider_id=str(uuid.uuid4()),
            name=order.name,
            hostname=order.hostname,
            address=lowest_free(self._taken()),
            size=order.size,
            region=order.region,
            labels=order.labels,
            wanted=PowerState.RUNNING,
        )

    async def _bring_back(self, machine: Machine) -> None:
        try:
            await machine.attach()
            if machine.record.wanted is PowerState.RUNNING:
                await machine.start()
        except ProviderError:
            # the others must not stay down for it; its callers see that it is off
            log.exception("server %s could not be started", machine.record.name)

    async def _take_down(self, machine: Machine) -> None:
        async with machine.lock:
            await machine.detach()
