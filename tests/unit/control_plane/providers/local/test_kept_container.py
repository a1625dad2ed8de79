import asyncio
import signal

import pytest

from control_plane.providers.base import ProviderError
from control_plane.providers.local.kept_container import KeptContainer

REBOOT = 133


class FakeContainer:
    """Ends when told to, with the status it is told; SIGKILL ends it with 1."""

    def __init__(self) -> None:
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)

    def signal(self, number: int) -> None:
        if number == signal.SIGKILL:
            self.end(1)

    async def ended(self) -> int:
        return await self._status


class Machine:
    """A kept container on fakes, and what happened."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[FakeContainer] = asyncio.Queue()
        self.off: asyncio.Queue[int] = asyncio.Queue()
        self.broken = False
        self.kept = KeptContainer(self._begin, lambda status: status == REBOOT, self.off.put_nowait, 0)

    async def _begin(self) -> FakeContainer:
        if self.broken:
            raise ProviderError("no such disk")
        container = FakeContainer()
        self.begun.put_nowait(container)
        return container


async def test_it_starts_again_for_a_reboot_and_stays_off_otherwise() -> None:
    machine = Machine()
    await machine.kept.start()
    (await machine.begun.get()).end(REBOOT)
    second = await machine.begun.get()
    assert machine.kept.running
    second.end(0)
    assert await machine.off.get() == 0
    await machine.kept.halt()
    assert not machine.kept.running


async def test_starting_what_runs_starts_nothing() -> None:
    machine = Machine()
    await machine.kept.start()
    await machine.kept.start()
    assert machine.begun.qsize() == 1
    await machine.kept.halt()


async def test_it_can_be_started_after_it_was_halted() -> None:
    machine = Machine()
    await machine.kept.start()
    await machine.kept.halt()
    assert not machine.kept.running
    await machine.kept.start()
    assert machine.kept.running
    await machine.kept.halt()
    assert machine.begun.qsize() == 2


async def test_halting_in_the_midst_of_a_reboot_leaves_it_off() -> None:
    machine = Machine()
    await machine.kept.start()
    (await machine.begun.get()).end(REBOOT)
    await machine.kept.halt()
    assert not machine.kept.running


async def test_a_reboot_that_fails_leaves_it_off() -> None:
    machine = Machine()
    await machine.kept.start()
    machine.broken = True
    (await machine.begun.get()).end(REBOOT)
    assert await machine.off.get() == REBOOT
    with pytest.raises(ProviderError, match="no such disk"):
        await machine.kept.start()
