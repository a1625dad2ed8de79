"""Wait for a blocking function without being held up by it when we are told to stop, or do not wait for it any more."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")


async def abandonable(function: Callable[[], Result]) -> Result:
    """Run `function` in a thread that ends with the process, and return what it returns.

    `asyncio.to_thread` would make the end of the process wait for it, even after a cancellation; and a function that
    never returns would keep one of the few threads that all share.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    context = copy_context()

    def settle(outcome: Callable[[], None]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(lambda: None if future.done() else outcome())

    def work() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the future is awaited
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(result))

    threading.Thread(target=work, daemon=True).start()
    return await future
