import asyncio

import pytest

from agent.relay.race import race


async def test_the_first_to_end_ends_the_others() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("forever")

    async def soon() -> None:
        await asyncio.sleep(0)

    await race(forever(), soon())
    assert ended == ["forever"]


async def test_what_the_first_raises_is_raised() -> None:
    async def fails() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await race(fails(), asyncio.sleep(60))


async def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    async def deaf_once() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    await asyncio.wait_for(race(deaf_once(), asyncio.sleep(0)), 5)


async def test_cancelling_the_race_ends_all() -> None:
    started = asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    racing = asyncio.ensure_future(race(forever(), forever()))
    await started.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
