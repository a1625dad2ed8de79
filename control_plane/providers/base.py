"""What a provider of servers can do, in small protocols: the pipeline asks only for what a step needs.

Adapters are synchronous or asynchronous inside as their vendor's library is; here everything is async. A name is
deterministic (`vps_servers.id` decides it) and unique at the provider, so that a create whose answer was lost is found
again by `find` and never asked for twice. Each call looks first and may be repeated at any moment: what takes its time
at the provider raises `ProviderBusy` until it is done, so that nobody holds a worker to wait for it.

What goes wrong is one of four: `ProviderBusy` (come back), `NoCapacity` (come back later, every choice was tried),
`NeedsPerson` (someone has to do what the message says, then it goes on), and any other `ProviderError` (refused).
"""

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from control_plane.clock import boot_seconds

_GIB = 1024**3


class ProviderError(Exception):
    """The provider refused or failed; the message is for the operator."""


class ProviderBusy(ProviderError):
    """It may work in `seconds`: a rate limit, a lock, a deed under way, a time-out after which it may be done."""

    def __init__(self, message: str, seconds: float = 2.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class NoCapacity(ProviderBusy):
    """Nothing that fits is to be had at the moment, in any of the locations."""

    def __init__(self, message: str, seconds: float = 60.0) -> None:
        super().__init__(message, seconds)


class NeedsPerson(ProviderBusy):
    """It goes on when someone has done what the message says: a new token, a higher limit."""

    def __init__(self, message: str, seconds: float = 60.0) -> None:
        super().__init__(message, seconds)


class PowerState(enum.Enum):
    """Whether a server runs."""

    RUNNING = "running"
    OFF = "off"


class Capability(enum.Enum):
    """What a provider states that it has; the protocol of that name holds the calls."""

    POWER = "power"
    RESET = "reset"
    REBUILD = "rebuild"
    REVERSE_DNS = "reverse_dns"
    REVERSE_DNS_V6 = "reverse_dns_v6"
    EXTRA_ADDRESSES = "extra_addresses"
    USER_DATA = "user_data"
    PRICES = "prices"
    LIST = "list"
    ACME_PORT = "acme_port"
    REPLACE_ADDRESS = "replace_address"


#: Keys of the providers that have `Capability.ACME_PORT`, for who cannot load them all to ask; a test holds it to that.
ACME_PORT_PROVIDERS = frozenset({"hetzner"})


@dataclass(frozen=True, slots=True)
class Size:
    """The least that a size of the product has; memory and disk in bytes."""

    cores: int
    memory_bytes: int
    disk_bytes: int


#: What the product sells, smallest first. A provider's own types differ; each gives at least this.
SIZES = {
    "starter": Size(cores=1, memory_bytes=2 * _GIB, disk_bytes=20 * _GIB),
    "professional": Size(cores=2, memory_bytes=4 * _GIB, disk_bytes=40 * _GIB),
    "business": Size(cores=4, memory_bytes=8 * _GIB, disk_bytes=80 * _GIB),
    "enterprise": Size(cores=8, memory_bytes=16 * _GIB, disk_bytes=160 * _GIB),
}


@dataclass(frozen=True, slots=True)
class ServerOrder:
    """What to create. `user_data` is cloud-init's, at most 32 KiB.

    `begin_before` is when the right to order ends, as `clock.boot_seconds` counts: a request that creates or charges
    is not begun later, for others may have done it meanwhile, or have seen to it that nobody does.
    """

    name: str
    hostname: str
    size: str
    region: str
    user_data: str
    labels: tuple[tuple[str, str], ...]
    begin_before: float | None = None

    def refuse_late(self) -> None:
        """Raise `ProviderBusy` when it is too late to order."""
        refuse_late(self.begin_before)


def refuse_late(begin_before: float | None) -> None:
    """Raise `ProviderBusy` when the right to act has ended, as `ServerOrder.begin_before` counts."""
    if begin_before is not None and boot_seconds() >= begin_before:
        raise ProviderBusy("the order came too late; it is looked for again", 1.0)


@dataclass(frozen=True, slots=True)
class ProviderServer:
    """A server as the provider knows it; `monthly_cost` is net, of the server alone.

    `progress` is a percentage while the provider still makes it, and None once it is made. `fault` is a sentence when
    the provider could not make it: it is there, may cost money, and can only be deleted.
    """

    provider_id: str
    name: str
    ipv4_address: str
    power: PowerState
    cores: int
    memory_bytes: int
    disk_bytes: int
    monthly_cost: Decimal | None
    ipv6_address: str | None = None
    progress: int | None = None
    fault: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExtraAddress:
    """One more address of a server, by the label it was asked for with."""

    label: str
    address: str


@dataclass(frozen=True, slots=True)
class Price:
    """What one thing costs at one place; `what` is the provider's name for it."""

    what: str
    location: str
    currency: str
    hourly_net: Decimal
    hourly_gross: Decimal
    monthly_net: Decimal
    monthly_gross: Decimal


class CreatesServers(Protocol):
    """Create, find and delete by name."""

    async def create(self, order: ServerOrder) -> ProviderServer:
        """Create the server; raise `ProviderError` when the name is taken or the order is refused."""

    async def find(self, name: str) -> ProviderServer | None:
        """Return the server of that name, if there is one."""

    async def delete(self, name: str) -> None:
        """Delete the server and what was made for it alone; no error when it is gone already."""


class ListsServers(Protocol):
    """Find what nobody knows of any more."""

    async def list(self) -> Sequence[ProviderServer]:
        """Return all servers that this installation made, by name."""


class PowersServers(Protocol):
    """Switch servers, as an operator at the console would."""

    async def power_off(self, name: str) -> None:
        """Cut the power, at once."""

    async def power_on(self, name: str) -> None:
        """Start it."""

    async def reboot(self, name: str) -> None:
        """Ask the operating system to start again."""


@runtime_checkable
class ResetsServers(Protocol):
    """Press the reset button."""

    async def reset(self, name: str) -> None:
        """Cut the power and give it again, whatever the operating system does."""


@runtime_checkable
class RebuildsServers(Protocol):
    """Start again from the image, with the same addresses."""

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        """Overwrite the server's disk with the image; nothing happens when that `generation` was built already.

        The request is not begun after `begin_before`, as an order's is not: by then others may have put mail there.
        """


class SetsReverseDns(Protocol):
    """Reverse DNS is set where the address comes from."""

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Set or (with None) remove the PTR of one address of the server."""


class ReadsReverseDns(Protocol):
    """What the provider itself says of an address."""

    async def reverse_dns(self, name: str, address: str) -> str | None:
        """Return the PTR that was set, or None when it is the provider's own or none."""


@runtime_checkable
class AddsAddresses(Protocol):
    """More IPv4 addresses for one server; its operating system has to take them up itself."""

    async def add_address(self, name: str, label: str) -> ExtraAddress:
        """Return the server's address of that label, getting it when there is none."""

    async def remove_address(self, name: str, label: str) -> None:
        """Give the address of that label back; no error when it is gone already."""


@runtime_checkable
class ReplacesAddress(Protocol):
    """Another primary IPv4 address for a server that keeps all else; it may be restarted for that."""

    async def replace_address(self, name: str, refused: Collection[str]) -> ProviderServer:
        """Return the server with an address that is not refused, getting one and giving the other back where needed.

        The refused one is given back after the new one was got, so that it cannot be handed out again.
        """


class OpensAcmePort(Protocol):
    """A firewall of the provider's keeps port 80 shut, except while a certificate is being got."""

    async def open_acme(self, name: str) -> None:
        """Let port 80 in to the server."""

    async def close_acme(self, name: str) -> None:
        """Shut it again."""


@runtime_checkable
class JoinsServers(Protocol):
    """Where there is no user-data: a program is run on the server once it is there."""

    async def start_joining(self, name: str, address: str, program: str) -> None:
        """Have a Python program run there as root, unless one does; raise `ProviderBusy` when that cannot be done."""


@runtime_checkable
class StatesPrices(Protocol):
    """Prices as the provider gives them now."""

    async def prices(self) -> Sequence[Price]:
        """Return them by what and where."""


class Provider(CreatesServers, PowersServers, SetsReverseDns, Protocol):
    """What every provider has; the rest is stated in `capabilities`."""

    #: What `vps_servers.provider` holds.
    key: str
    sizes: tuple[str, ...]
    regions: tuple[str, ...]
    capabilities: frozenset[Capability]
