"""Blocking functions that are waited for, and that are not waited for any more."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from control_plane.abandonable import abandonable
from control_plane.dns.plan import ZonePlan
from control_plane.dns.publish import publish
from control_plane.dns.publishers.manual import ManualPublisher

_NAME: ContextVar[str] = ContextVar("_NAME")


async def test_what_it_returns_or_raises_comes_back_and_it_knows_who_asked() -> None:
    _NAME.set("anna")
    assert await abandonable(_NAME.get) == "anna"
    with pytest.raises(ZeroDivisionError):
        await abandonable(lambda: 1 / 0)


class HangingPublisher(ManualPublisher):
    """A DNS host whose library never returns."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.let_go = threading.Event()

    def apply(self, plan: ZonePlan) -> None:
        raise AssertionError

    def plan(self, *_: object, **__: object) -> ZonePlan:
        self.loop.call_soon_threadsafe(self.reached.set)
        self.let_go.wait()
        raise AssertionError


def test_a_publishing_that_hangs_and_is_broken_off_keeps_no_thread_that_others_need() -> None:
    # In a loop of its own: others are not to have a single thread.
    asyncio.run(_break_off_a_publishing_with_one_thread_for_all())


async def _break_off_a_publishing_with_one_thread_for_all() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    host = HangingPublisher()

    async def nothing(_: ZonePlan) -> None:
        """Remember nothing."""

    try:
        publishing = asyncio.create_task(publish(host, "acme.example", [], [], nothing))
        await host.reached.wait()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(lambda: "done") == "done"
    finally:
        host.let_go.set()
