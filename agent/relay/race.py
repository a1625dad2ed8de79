"""Runs several coroutines until the first of them ends."""

import asyncio
from collections.abc import Coroutine, Iterable

#: Seconds until a task that has not ended is cancelled once more.
_INSIST = 0.2


async def race(*coroutines: Coroutine[None, None, None]) -> None:
    """Run all until one ends, cancel the others, and raise what the one raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in ended:
        task.result()


async def _end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel until all have ended.

    Once is not always enough: `asyncio.wait_for` in Python 3.11 loses a cancellation that comes as what it waits for
    completes (python/cpython#86296), and a reader that went on would hold everything up.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_INSIST)
    await asyncio.gather(*tasks, return_exceptions=True)
