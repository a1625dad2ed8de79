"""A function that is held up in the middle of a request, for as long as a test wants."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Held(Generic[P, T]):
    """Stands for a function that is called once `go` is set; `begun` says that somebody waits for it."""

    def __init__(self, function: Callable[P, Awaitable[T]]) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self._function = function

    async def __call__(self, *arguments: P.args, **named: P.kwargs) -> T:
        self.begun.set()
        await self.go.wait()
        return await self._function(*arguments, **named)
