"""Run something until it ends or a signal asks it to, and let it end in order."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run_interruptible(work: Coroutine[Any, Any, None]) -> int:
    """Run `work`; return the exit status: 0, or 128 + the number of the signal that cancelled it.

    The first SIGINT, SIGTERM or SIGHUP cancels `work`; those that follow are ignored, for what was begun must be taken
    down whole.
    """
    return asyncio.run(_run(work))


async def _run(work: Coroutine[Any, Any, None]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        received.append(number)
        if len(received) == 1:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt, number)
    try:
        await task
    except asyncio.CancelledError:
        return 128 + received[0] if received else 1
    return 0
