"""The local provider: servers on this machine, made by the daemon in `cloud.py`, asked over its Unix socket."""

from pathlib import Path

from pydantic import TypeAdapter

from control_plane.providers.base import SIZES, Capability, ExtraAddress, ProviderServer, ServerOrder
from control_plane.providers.local.catalogue import REGIONS
from control_plane.providers.local.rpc import call

_SERVER = TypeAdapter(ProviderServer)
_EXTRA = TypeAdapter(ExtraAddress)
_SERVERS = TypeAdapter(list[ProviderServer])


class LocalProvider:
    """Implements `providers.base.Provider`; each call is one request to the daemon.

    Beyond what a cloud can do it pulls network cables and shows consoles, for tests and demonstrations.
    """

    key = "local"
    sizes = tuple(SIZES)
    regions = REGIONS
    capabilities = frozenset(
        {
            *(Capability.POWER, Capability.REVERSE_DNS, Capability.USER_DATA, Capability.LIST),
            *(Capability.EXTRA_ADDRESSES, Capability.REBUILD, Capability.REVERSE_DNS_V6),
        }
    )

    def __init__(self, socket_path: Path) -> None:
        self._socket = socket_path

    async def create(self, order: ServerOrder) -> ProviderServer:
        """Create the server and return when it has been started."""
        return _SERVER.validate_python(await call(self._socket, "create", order=order))

    async def find(self, name: str) -> ProviderServer | None:
        """Return the server of that name, if there is one."""
        found = await call(self._socket, "find", name=name)
        return None if found is None else _SERVER.validate_python(found)

    async def list(self) -> list[ProviderServer]:
        """Return all servers, by name."""
        return _SERVERS.validate_python(await call(self._socket, "list"))

    async def delete(self, name: str) -> None:
        """Delete the server with its disk; no error when it is gone already."""
        await call(self._socket, "delete", name=name)

    async def power_off(self, name: str) -> None:
        """Cut the power, at once; the disk stays."""
        await call(self._socket, "power_off", name=name)

    async def power_on(self, name: str) -> None:
        """Start it; no error when it runs."""
        await call(self._socket, "power_on", name=name)

    async def reboot(self, name: str) -> None:
        """Ask the operating system to start again."""
        await call(self._socket, "reboot", name=name)

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        """Give it an empty disk over the image and start it; nothing happens when that `generation` was built."""
        asked = {"name": name, "user_data": user_data, "generation": generation, "begin_before": begin_before}
        await call(self._socket, "rebuild", **asked)

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Set or (with None) remove the PTR of one of the server's addresses, of either family."""
        await call(self._socket, "set_reverse_dns", name=name, ipv4_address=ipv4_address, hostname=hostname)

    async def add_address(self, name: str, label: str) -> ExtraAddress:
        """Return the server's address of that label, getting it when there is none."""
        return _EXTRA.validate_python(await call(self._socket, "add_address", name=name, label=label))

    async def remove_address(self, name: str, label: str) -> None:
        """Give the address of that label back; no error when it is gone already."""
        await call(self._socket, "remove_address", name=name, label=label)

    async def cut_network(self, name: str) -> None:
        """Pull the server's network cable."""
        await call(self._socket, "cut_network", name=name)

    async def restore_network(self, name: str) -> None:
        """Plug the server's network cable in again."""
        await call(self._socket, "restore_network", name=name)

    async def console(self, name: str, lines: int) -> str:
        """Return the last lines of the server's console."""
        return str(await call(self._socket, "console", name=name, lines=lines))
