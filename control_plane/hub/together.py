"""Do for many callers at once what would cost the database a transaction, or Redis a round trip, for each.

Whoever comes alone is served at once. Whoever comes while others are served, or within `spacing` seconds of when that
began, waits and is served with all that wait: the more there are, the less each costs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from control_plane.errors import PenguinError, Unavailable
from db.notifications import DATABASE_AWAY

T = TypeVar("T")
R = TypeVar("R")

#: Served at once, at most: a statement is not to hold its locks for long.
MOST = 500

#: What serves is away for all alike.
_AWAY = (*DATABASE_AWAY, Unavailable)


class Together(Generic[T, R]):
    """Serves items by `act`, which returns an outcome for each; one that is an error is raised to its caller.

    Where `act` fails for another reason than that what it needs is away, each item is tried by itself, so that what
    cannot be stored harms nobody else.
    """

    def __init__(self, act: Callable[[Sequence[T]], Awaitable[Sequence[R | PenguinError]]], spacing: float) -> None:
        self._act = act
        self._spacing = spacing
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._server: asyncio.Task[None] | None = None
        self._acting: asyncio.Future[Sequence[R | PenguinError]] | None = None

    def serve(self, item: T) -> "asyncio.Future[R]":
        """Have the item served; its outcome is what `act` says of it, or raises.

        A future and no coroutine: whoever must not be disturbed while they wait needs no task for that.
        """
        served: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, served))
        if self._server is None:
            # No caller's own: what it writes to the log is about all of them.
            self._server = asyncio.create_task(self._serve_all(), context=Context())
        return served

    async def _serve_all(self) -> None:
        loop = asyncio.get_running_loop()
        now: Sequence[tuple[T, asyncio.Future[R]]] = ()
        try:
            while self._waiting:
                begun = loop.time()
                now, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._serve_these(now)
                await asyncio.sleep(begun + self._spacing - loop.time())
        finally:
            # Nothing is left waiting for a server that ended otherwise, and who comes next gets another.
            self._server = None
            left, self._waiting = [*now, *self._waiting], []
            for _, served in left:
                served.cancel()

    async def _serve_these(self, these: Sequence[tuple[T, "asyncio.Future[R]"]]) -> None:
        acting = self._acting = asyncio.ensure_future(self._act([item for item, _ in these]))
        await asyncio.wait((acting,))
        error = acting.exception()
        if error is None:
            for (_, served), outcome in zip(these, acting.result(), strict=True):
                _settle(served, outcome)
        elif isinstance(error, _AWAY) or len(these) == 1:
            for _, served in these:
                _fail(served, error)
        else:
            for one in these:
                await self._serve_these([one])


def _settle(served: "asyncio.Future[R]", outcome: R | PenguinError) -> None:
    if isinstance(outcome, PenguinError):
        _fail(served, outcome)
    elif not served.done():
        served.set_result(outcome)


def _fail(served: "asyncio.Future[R]", error: BaseException) -> None:
    # Done is what its caller has gone from.
    if not served.done():
        served.set_exception(error)
