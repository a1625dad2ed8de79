"""A cloud in memory that behaves as clouds do: names are unique, answers get lost, and it has bad days."""

from dataclasses import replace
from decimal import Decimal

from control_plane.providers.base import (
    Capability,
    PowerState,
    ProviderBusy,
    ProviderError,
    ProviderServer,
    ServerOrder,
)


class FakeProvider:
    """Implements `providers.base.Provider`. A test reads `servers`, `orders` and `reverse_dns`."""

    key = "fake"
    sizes: tuple[str, ...] = ("small",)
    regions: tuple[str, ...] = ("here",)
    capabilities = frozenset({Capability.POWER, Capability.REVERSE_DNS, Capability.USER_DATA})

    def __init__(self) -> None:
        self.servers: dict[str, ProviderServer] = {}
        #: Every order that was taken: each costs money.
        self.orders: list[ServerOrder] = []
        self.reverse_dns: dict[str, str] = {}
        #: So many requests find it busy.
        self.busy_for = 0
        #: It creates the server of the next order, but the answer does not arrive.
        self.loses_next_answer = False
        #: What it refuses every order with.
        self.refuses_with: str | None = None
        #: What its servers have besides.
        self.ipv6_address: str | None = None

    async def create(self, order: ServerOrder) -> ProviderServer:
        self._answer()
        if self.refuses_with is not None:
            raise ProviderError(self.refuses_with)
        if order.name in self.servers:
            raise ProviderError(f"the name {order.name} is taken")
        self.orders.append(order)
        made = ProviderServer(
            provider_id=f"fake-{len(self.orders)}",
            name=order.name,
            ipv4_address=f"192.0.2.{len(self.orders)}",
            power=PowerState.RUNNING,
            cores=2,
            memory_bytes=4 << 30,
            disk_bytes=40 << 30,
            monthly_cost=Decimal("5.99"),
            ipv6_address=self.ipv6_address,
        )
        self.servers[order.name] = made
        if self.loses_next_answer:
            self.loses_next_answer = False
            raise ProviderBusy("the request timed out")
        return made

    async def find(self, name: str) -> ProviderServer | None:
        self._answer()
        return self.servers.get(name)

    async def delete(self, name: str) -> None:
        self._answer()
        self.servers.pop(name, None)

    async def power_off(self, name: str) -> None:
        self._answer()
        self.servers[name] = replace(self.servers[name], power=PowerState.OFF)

    async def power_on(self, name: str) -> None:
        self._answer()
        self.servers[name] = replace(self.servers[name], power=PowerState.RUNNING)

    async def reboot(self, name: str) -> None:
        self._answer()

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        self._answer()
        if ipv4_address not in {self.servers[name].ipv4_address, self.servers[name].ipv6_address}:
            raise ProviderError(f"{ipv4_address} is not an address of {name}")
        if hostname is None:
            self.reverse_dns.pop(ipv4_address, None)
        else:
            self.reverse_dns[ipv4_address] = hostname

    def _answer(self) -> None:
        if self.busy_for > 0:
            self.busy_for -= 1
            raise ProviderBusy("too many requests")
