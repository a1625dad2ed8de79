"""The newest value, for all who wait."""

import asyncio

from agent.uplink.latest import Latest


async def test_all_who_wait_see_the_newest() -> None:
    latest: Latest[int] = Latest()
    assert latest.get() is None
    waiting = [asyncio.create_task(latest.changed()) for _ in range(2)]
    await asyncio.sleep(0)
    latest.set(1)
    latest.set(2)
    assert [await task for task in waiting] == [2, 2]
    assert latest.get() == 2


async def test_an_old_value_is_no_change() -> None:
    latest: Latest[int] = Latest()
    latest.set(1)
    waiting = asyncio.create_task(latest.changed())
    await asyncio.sleep(0)
    assert not waiting.done()
    latest.set(1)
    assert await waiting == 1
