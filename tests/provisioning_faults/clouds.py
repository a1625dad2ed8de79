"""The providers that the matrix walks through: a table. To add one: a class of this shape, and a line in `CLOUDS`.

`wire_calls` are the requests that came in over the wire, so that the answer of each can be lost there too; a cloud
without a wire has none.
"""

import asyncio
import contextlib
import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr, validate_call

from control_plane.providers.base import (
    Capability,
    PowerState,
    Provider,
    ProviderBusy,
    ProviderError,
    ProviderServer,
    ServerOrder,
    refuse_late,
)
from control_plane.providers.hetzner.client import Account
from control_plane.providers.hetzner.pace import Unpaced
from control_plane.providers.hetzner.provider import HetznerProvider
from control_plane.providers.local.door import Method, reply_to
from control_plane.providers.local.provider import LocalProvider
from db.session import Database
from tests.fakes.hetzner.door import running_hetzner
from tests.fakes.hetzner.project import Action
from tests.provisioning_faults.byo_cloud import byo
from tests.provisioning_faults.hostwinds_cloud import hostwinds
from tests.provisioning_faults.losing import LosingScript
from tests.provisioning_faults.plan import REBUILDS, Scenario


class Cloud(Protocol):
    """One account at a provider, for one case."""

    @property
    def provider(self) -> Provider:
        """The adapter that is used in earnest."""

    def servers(self) -> list[str]:
        """The names of the servers there are; one name may stand there twice."""

    def leftovers(self) -> list[str]:
        """What costs money or misleads besides servers: addresses, PTRs."""

    def created(self) -> int:
        """How many servers were made, and charged for, whatever became of them."""

    def rebuilds(self) -> int:
        """How often the disk of one was overwritten."""

    def asked(self) -> int:
        """How many different servers were asked for, by orders that came in."""

    def wire_calls(self) -> int:
        """How many requests came in."""

    def variables(self) -> Mapping[str, str]:
        """The settings of a worker process that is to use it, as environment variables."""


@dataclass
class Charging:
    """A cloud in memory that charges for each order, and to which names mean nothing: the hardest there is."""

    key = "charging"
    sizes: tuple[str, ...] = ("starter",)
    regions: tuple[str, ...] = ("here",)
    capabilities = frozenset(
        {
            *(Capability.POWER, Capability.REVERSE_DNS, Capability.REVERSE_DNS_V6),
            *(Capability.USER_DATA, Capability.LIST, Capability.REBUILD),
        }
    )
    there: list[ProviderServer] = field(default_factory=list)
    orders: list[ServerOrder] = field(default_factory=list)
    pointers: dict[str, str] = field(default_factory=dict)
    unique_names: bool = False
    #: The generations that disks were overwritten with.
    built: list[int] = field(default_factory=list)
    #: It cannot be listed.
    away: bool = False

    @property
    def provider(self) -> Provider:
        return self

    def servers(self) -> list[str]:
        return [server.name for server in self.there]

    def leftovers(self) -> list[str]:
        return list(self.pointers)

    def created(self) -> int:
        return len(self.orders)

    def rebuilds(self) -> int:
        return len(self.built)

    def asked(self) -> int:
        return len({order.name for order in self.orders})

    def wire_calls(self) -> int:
        return 0

    def variables(self) -> Mapping[str, str]:
        raise NotImplementedError("it is in the memory of one process")

    async def create(self, order: ServerOrder) -> ProviderServer:
        order.refuse_late()
        if self.unique_names and order.name in self.servers():
            raise ProviderError(f"a server named {order.name!r} exists already")
        self.orders.append(order)
        made = ProviderServer(
            provider_id=uuid.uuid4().hex,
            name=order.name,
            ipv4_address=f"192.0.2.{len(self.orders)}",
            power=PowerState.RUNNING,
            cores=1,
            memory_bytes=2 << 30,
            disk_bytes=20 << 30,
            monthly_cost=Decimal("5.99"),
            ipv6_address=f"2001:db8::{len(self.orders)}",
            labels=order.labels,
        )
        self.there.append(made)
        return made

    async def find(self, name: str) -> ProviderServer | None:
        return next((server for server in self.there if server.name == name), None)

    async def list(self) -> Sequence[ProviderServer]:
        if self.away:
            raise ProviderBusy("away")
        return self.there

    async def delete(self, name: str) -> None:
        for server in [each for each in self.there if each.name == name][:1]:
            self.there.remove(server)
            self.pointers.pop(server.ipv4_address, None)
            self.pointers.pop(server.ipv6_address or "", None)

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        if name not in self.servers():
            raise ProviderError(f"there is no server named {name!r}")
        if hostname is None:
            self.pointers.pop(ipv4_address, None)
        else:
            self.pointers[ipv4_address] = hostname

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        refuse_late(begin_before)
        if name not in self.servers() or "join_token" not in user_data:
            raise ProviderError(f"there is no server named {name!r}, or nothing for it to join with")
        if generation not in self.built:
            self.built.append(generation)

    async def power_off(self, name: str) -> None:
        """Leave it on: nothing here looks."""

    async def power_on(self, name: str) -> None:
        """Leave it on."""

    async def reboot(self, name: str) -> None:
        """Leave it on."""


@dataclass
class LocalCloud:
    """The local provider's adapter and protocol, with a daemon whose servers are entries in a list."""

    inventory: Charging
    provider: Provider
    calls: list[str]
    socket: Path

    def servers(self) -> list[str]:
        return self.inventory.servers()

    def leftovers(self) -> list[str]:
        return self.inventory.leftovers()

    def created(self) -> int:
        return self.inventory.created()

    def rebuilds(self) -> int:
        return self.inventory.rebuilds()

    def asked(self) -> int:
        return self.inventory.asked()

    def wire_calls(self) -> int:
        return len(self.calls)

    def variables(self) -> Mapping[str, str]:
        return {"PENGUIN_LOCAL_CLOUD_SOCKET": str(self.socket)}


@dataclass
class HetznerCloud:
    """Hetzner's adapter, asking the fake of its API over HTTP."""

    provider: Provider
    script: LosingScript
    project: "ProjectView"
    account: Account

    def servers(self) -> list[str]:
        return [str(each["name"]) for each in self.project.servers.values()]

    def leftovers(self) -> list[str]:
        return [str(each["name"]) for each in self.project.primary_ips.values()] if not self.servers() else []

    def created(self) -> int:
        return self.project.costs.servers_created

    def rebuilds(self) -> int:
        over = [each for each in self.project.actions.values() if each.over]
        return sum(each.command == "rebuild_server" and each.error is None for each in over)

    def asked(self) -> int:
        return self.project.costs.servers_asked

    def wire_calls(self) -> int:
        return self.script.count

    def variables(self) -> Mapping[str, str]:
        token = self.account.token.get_secret_value()
        return {"PENGUIN_HETZNER_TOKEN": token, "PENGUIN_HETZNER_API_URL": self.account.api_url}


class CostsView(Protocol):
    """What the fake counts."""

    @property
    def servers_created(self) -> int:
        """How many were made."""

    @property
    def servers_asked(self) -> int:
        """How many names were asked for."""


class ProjectView(Protocol):
    """What the matrix reads of the fake's project."""

    servers: dict[int, dict[str, object]]
    primary_ips: dict[int, dict[str, object]]
    actions: dict[int, Action]

    @property
    def costs(self) -> CostsView:
        """What it has cost."""


@asynccontextmanager
async def charging(_database: Database, _lost: int) -> AsyncIterator[Cloud]:
    yield Charging()


@asynccontextmanager
async def local(_database: Database, lost: int) -> AsyncIterator[Cloud]:
    inventory = Charging(unique_names=True)
    callables = (
        *(inventory.create, inventory.find, inventory.list, inventory.delete),
        *(inventory.set_reverse_dns, inventory.rebuild),
    )
    methods: dict[str, Method] = {each.__name__: validate_call(each) for each in callables}
    calls: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            line = await reader.readline()
            calls.append(json.loads(line)["method"])
            number = len(calls) - 1
            answer = await reply_to(line, methods)
            if number != lost:
                writer.write(answer)
                await writer.drain()

    with tempfile.TemporaryDirectory(prefix="penguin-cloud-") as folder:
        path = Path(folder) / "cloud.sock"
        async with await asyncio.start_unix_server(serve, str(path), limit=1 << 20):
            yield LocalCloud(inventory, LocalProvider(path), calls, path)


@asynccontextmanager
async def hetzner(_database: Database, lost: int) -> AsyncIterator[Cloud]:
    script = LosingScript(lost)
    with running_hetzner() as fake:
        fake.script = script
        account = Account(SecretStr(fake.token), fake.url, "penguin.example", "debian-12")
        provider = HetznerProvider(account, Unpaced(), timeout=(2.0, 2.0))
        yield HetznerCloud(provider, script, fake.project, account)


@dataclass(frozen=True, slots=True)
class Kind:
    """A provider of the matrix; `make` opens an account that loses the answer of the request of that number."""

    make: Callable[[Database, int], AbstractAsyncContextManager[Cloud]]
    region: str
    size: str = "starter"
    scenarios: frozenset[Scenario] = frozenset(Scenario)
    #: What a person says who brings a server.
    ipv4_address: str | None = None
    ipv6_address: str | None = None


CLOUDS: Mapping[str, Kind] = {
    "charging": Kind(charging, "here"),
    "local": Kind(local, "local"),
    "hetzner": Kind(hetzner, "eu"),
    "hostwinds": Kind(hostwinds, "1"),
    "byo": Kind(byo, "own", "own", frozenset(Scenario) - REBUILDS, "192.0.2.1", "2001:db8::1"),
}
