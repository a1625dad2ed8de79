"""The provider `hetzner`: each call is one operation of `servers.py` and its neighbours, performed by a thread.

A call that is cancelled, because its worker lost the step, begins no more requests; the request that is under way ends
by its own time-out.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from control_plane.providers.base import (
    SIZES,
    Capability,
    ExtraAddress,
    Price,
    ProviderServer,
    ServerOrder,
)
from control_plane.providers.hetzner import acme_port, extra_addresses, removal, reverse_dns, servers
from control_plane.providers.hetzner import replace_address as replacement
from control_plane.providers.hetzner.catalogue import REGIONS
from control_plane.providers.hetzner.client import BUDGET, TIMEOUT, Account, Operation, our_errors
from control_plane.providers.hetzner.pace import Pace
from control_plane.providers.hetzner.prices import prices

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

#: The most requests that a call sends: a few for most, and for a create a few for each choice that it tries.
_FEW = 12
_CREATE = 80
_ADDRESS = 30
_THREADS = 8


class HetznerProvider:
    """Implements `providers.base.Provider` and all the protocols of its capabilities."""

    key = "hetzner"
    sizes = tuple(SIZES)
    regions = tuple(REGIONS)
    capabilities = frozenset(Capability)

    def __init__(
        self,
        account: Account,
        pace: Pace,
        *,
        budget: float = BUDGET,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self._account = account
        self._pace = pace
        self._begin = partial(Operation, account, budget=budget, timeout=timeout)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hetzner")

    def __repr__(self) -> str:
        return f"HetznerProvider({self._account!r})"

    async def create(self, order: ServerOrder) -> ProviderServer:
        """Return the server, asking for it when there is none; `progress` says how far it is."""
        return await self._perform(_CREATE, servers.create, order)

    async def find(self, name: str) -> ProviderServer | None:
        """Return the server of that name, if there is one."""
        return await self._perform(_FEW, servers.find, name)

    async def list(self) -> Sequence[ProviderServer]:
        """Return all servers of this installation, by name."""
        return await self._perform(_FEW, servers.list_own)

    async def delete(self, name: str) -> None:
        """Delete the server and its addresses; raises `ProviderBusy` until all are gone."""
        await self._perform(_FEW, removal.delete, name)

    async def power_off(self, name: str) -> None:
        """Cut the power; raises `ProviderBusy` until it is off."""
        await self._perform(_FEW, servers.power_off, name)

    async def power_on(self, name: str) -> None:
        """Start it; raises `ProviderBusy` until it runs."""
        await self._perform(_FEW, servers.power_on, name)

    async def reboot(self, name: str) -> None:
        """Ask the operating system to start again."""
        await self._perform(_FEW, servers.reboot, name)

    async def reset(self, name: str) -> None:
        """Press the reset button."""
        await self._perform(_FEW, servers.reset, name)

    async def rebuild(self, name: str, user_data: str, generation: int, begin_before: float | None = None) -> None:
        """Write the image over the disk; raises `ProviderBusy` until it is done."""
        await self._perform(_FEW, servers.rebuild, name, user_data, generation, begin_before)

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Set or (with None) remove the PTR of one of the server's addresses, of either family."""
        await self._perform(_FEW, reverse_dns.set_reverse_dns, name, ipv4_address, hostname)

    async def reverse_dns(self, name: str, address: str) -> str | None:
        """Return the PTR that was set for one of the server's addresses."""
        return await self._perform(_FEW, reverse_dns.reverse_dns, name, address)

    async def add_address(self, name: str, label: str) -> ExtraAddress:
        """Return the server's extra address of that label, getting it when there is none."""
        return await self._perform(_FEW, extra_addresses.add_address, name, label)

    async def remove_address(self, name: str, label: str) -> None:
        """Give the extra address of that label back."""
        await self._perform(_FEW, extra_addresses.remove_address, name, label)

    async def replace_address(self, name: str, refused: Collection[str]) -> ProviderServer:
        """Return the server with another address; it is switched off for that. Raises `ProviderBusy` until done."""
        return await self._perform(_ADDRESS, replacement.replace_address, name, refused)

    async def open_acme(self, name: str) -> None:
        """Let port 80 in to the server, for as long as a certificate is being got."""
        await self._perform(_FEW, acme_port.open_acme, name)

    async def close_acme(self, name: str) -> None:
        """Shut port 80 of the server again."""
        await self._perform(_FEW, acme_port.close_acme, name)

    async def prices(self) -> Sequence[Price]:
        """Return what servers and primary addresses cost now."""
        return await self._perform(_FEW, prices)

    async def _perform(
        self,
        cost: int,
        work: Callable[Concatenate[Operation, _Parameters], _Result],
        *arguments: _Parameters.args,
        **options: _Parameters.kwargs,
    ) -> _Result:
        await self._pace.reserve(cost)
        operation = self._begin()
        running = asyncio.get_running_loop().run_in_executor(
            self._threads, partial(_run, operation, partial(work, operation, *arguments, **options))
        )
        try:
            return await running
        finally:
            operation.abandon()
            await self._pace.settle(cost, operation.rate)


def _run(operation: Operation, work: Callable[[], _Result]) -> _Result:
    try:
        with our_errors():
            return work()
    finally:
        operation.close()
