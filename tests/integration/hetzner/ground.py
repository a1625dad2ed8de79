"""What the tests of the provider `hetzner` share: a fake over real HTTP, a clock of their own, the adapter at it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from pydantic import SecretStr

from control_plane.providers.base import ProviderBusy, ProviderServer, ServerOrder
from control_plane.providers.hetzner.client import Account
from control_plane.providers.hetzner.pace import Pace, Unpaced
from control_plane.providers.hetzner.provider import HetznerProvider
from tests.fakes.hetzner.door import FakeHetzner, running_hetzner

Result = TypeVar("Result")
INSTANCE = "penguin.example"
NAME = "pm-0123456789ab"
ORDER = ServerOrder(
    name=NAME,
    hostname="mx-1.penguin.example",
    size="starter",
    region="eu",
    user_data="#cloud-config\n",
    labels=(("penguin/tenant-id", "tenant-1"), ("penguin/vps-id", "vps-1")),
)


@dataclass
class FakeClock:
    """Seconds of a fake's own; time passes when a test says so."""

    seconds: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(frozen=True)
class Ground:
    """The fake, its clock, and an adapter that asks it."""

    fake: FakeHetzner
    clock: FakeClock
    provider: HetznerProvider

    async def until_done(self, call: Callable[[], Awaitable[Result]], attempts: int = 12) -> Result:
        """Repeat a call as a step does, while time passes, until it is not busy any more."""
        for _ in range(attempts):
            try:
                return await call()
            except ProviderBusy as busy:
                self.clock.seconds += busy.seconds
        return await call()

    async def made(self, order: ServerOrder = ORDER) -> ProviderServer:
        """Return the order's server once it is made."""

        async def create() -> ProviderServer:
            found = await self.provider.find(order.name) or await self.provider.create(order)
            if found.progress is not None:
                raise ProviderBusy("it is being made", 5.0)
            return found

        return await self.until_done(create)


def adapter(
    fake: FakeHetzner,
    *,
    token: str | None = None,
    pace: Pace | None = None,
    budget: float = 20.0,
    timeout: tuple[float, float] = (2.0, 2.0),
) -> HetznerProvider:
    account = Account(SecretStr(token or fake.token), fake.url, INSTANCE, "debian-12")
    return HetznerProvider(account, pace or Unpaced(), budget=budget, timeout=timeout)


@contextmanager
def ground(*, action_seconds: float = 0.0) -> Iterator[Ground]:
    clock = FakeClock()
    with running_hetzner(action_seconds=action_seconds, clock=clock) as fake:
        yield Ground(fake, clock, adapter(fake))


async def gather_results(*calls: Awaitable[Result]) -> list[Result | BaseException]:
    return await asyncio.gather(*calls, return_exceptions=True)
