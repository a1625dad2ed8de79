"""What a provider of servers can do, in small protocols: the pipeline asks only for what a step needs.

Adapters are synchronous or asynchronous inside as their vendor's library is; here everything is async. A name is
deterministic (`vps_servers.id` decides it) and unique at the provider, so that a create whose answer was lost is found
again by `find` and never asked for twice.
"""

import enum
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


class ProviderError(Exception):
    """The provider refused or failed; the message is for the operator."""


class ProviderBusy(ProviderError):
    """It may work later: a rate limit, a lock, a time-out after which the deed may have been done."""


class PowerState(enum.Enum):
    """Whether a server runs."""

    RUNNING = "running"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ServerOrder:
    """What to create. `user_data` is cloud-init's, at most 32 KiB."""

    name: str
    hostname: str
    size: str
    region: str
    user_data: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ProviderServer:
    """A server as the provider knows it."""

    provider_id: str
    name: str
    ipv4_address: str
    power: PowerState
    cores: int
    memory_bytes: int
    disk_bytes: int
    monthly_cost: Decimal | None


class CreatesServers(Protocol):
    """Create, find and delete by name."""

    async def create(self, order: ServerOrder) -> ProviderServer:
        """Create the server; raise `ProviderError` when the name is taken or the order is refused."""

    async def find(self, name: str) -> ProviderServer | None:
        """Return the server of that name, if there is one."""

    async def delete(self, name: str) -> None:
        """Delete the server; no error when it is gone already."""


class PowersServers(Protocol):
    """Switch servers, as an operator at the console would."""

    async def power_off(self, name: str) -> None:
        """Cut the power, at once."""

    async def power_on(self, name: str) -> None:
        """Start it."""

    async def reboot(self, name: str) -> None:
        """Ask the operating system to start again."""


class SetsReverseDns(Protocol):
    """Reverse DNS is set where the address comes from."""

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Set or (with None) remove the PTR of one address of the server."""


class Provider(CreatesServers, PowersServers, SetsReverseDns, Protocol):
    """All that the local provider can do and that a cloud is expected to."""

    #: What `vps_servers.provider` holds.
    key: str
    sizes: tuple[str, ...]
    regions: tuple[str, ...]
