"""The wall clock is set while a send is in hand: its lease lives no longer for that."""

import asyncio
import time

from agent.journal import BootClock, wall_ms
from tests.fakes.postfix import Cut, FakePostfix
from tests.integration.relay.life import Kind, Server, make_envelope, message_id

_HOUR_MS = 3_600_000


def _boot_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def test_a_wall_clock_set_back_lengthens_no_lease(server: Server, postfix: FakePostfix) -> None:
    envelope = make_envelope(lease_seconds=1.5)
    postfix.cut = lambda: Cut.CONNECT
    async with server.life() as life:
        await server.enqueue(envelope)
        await life.until_in_hand(1)
        server.wall = lambda: wall_ms() - _HOUR_MS
        await server.until_told(Kind.KIND_LEASE_EXPIRED, envelope)
        postfix.cut = lambda: None
        await server.enqueue(later := make_envelope(1))
        await server.until_told(Kind.KIND_DELIVERED, later)
    assert list(server.submissions()) == [message_id(later)]


async def test_a_wall_clock_set_back_while_the_agent_is_down_lengthens_no_lease(
    server: Server, postfix: FakePostfix
) -> None:
    envelope = make_envelope(lease_seconds=1.5)
    postfix.cut = lambda: Cut.CONNECT
    async with server.life() as life:
        await server.enqueue(envelope)
        await life.until_in_hand(1)
    server.wall = lambda: wall_ms() - _HOUR_MS
    postfix.cut = lambda: None
    await asyncio.sleep(1.5)
    async with server.life():
        await server.until_told(Kind.KIND_LEASE_EXPIRED, envelope)
    assert postfix.accepted == []


async def test_a_wall_clock_set_forward_ends_a_lease_early_and_nothing_else(
    server: Server, postfix: FakePostfix
) -> None:
    envelope = make_envelope(lease_seconds=60)
    postfix.cut = lambda: Cut.CONNECT
    async with server.life() as life:
        await server.enqueue(envelope)
        await life.until_in_hand(1)
        server.wall = lambda: wall_ms() + _HOUR_MS
        await server.until_told(Kind.KIND_LEASE_EXPIRED, envelope)
    assert postfix.accepted == []


async def test_after_a_reboot_only_the_wall_clock_counts(server: Server, postfix: FakePostfix) -> None:
    envelope = make_envelope(lease_seconds=60)
    postfix.cut = lambda: Cut.CONNECT
    server.boot = BootClock("first boot", _boot_ms)
    async with server.life() as life:
        await server.enqueue(envelope)
        await life.until_in_hand(1)
    postfix.cut = lambda: None
    # Far beyond any deadline by the clock of the first boot.
    server.boot = BootClock("second boot", lambda: _boot_ms() + 10**12)
    async with server.life():
        await server.until_told(Kind.KIND_DELIVERED, envelope)
    assert server.submissions() == {message_id(envelope): 1}
