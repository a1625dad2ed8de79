"""Work that a link calls for now and then: nothing of it is held in between, and a hub holds thousands of links."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Served:
    work: Callable[[], Coroutine[object, object, None]]
    broken: Callable[[BaseException], None]
    #: Of whoever serves it: logs name the server, whoever calls.
    context: Context


class Errand:
    """Done once for all calls that came before it began, and again for those that come while it is done."""

    __slots__ = ("_called", "_served", "_task")

    def __init__(self) -> None:
        self._called = False
        self._served: _Served | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_called(self) -> bool:
        """Whether there was a call for which it has not begun."""
        return self._called

    def call(self) -> None:
        """Have it done, at once or as soon as it is served."""
        self._called = True
        self._begin()

    def serve(
        self, work: Callable[[], Coroutine[object, object, None]], broken: Callable[[BaseException], None]
    ) -> None:
        """Do `work` whenever it is called for, until that raises: `broken` is told what, and no more is done."""
        self._served = _Served(work, broken, copy_context())
        self._begin()

    async def end(self) -> None:
        """Do it no more; what is under way is cancelled and waited for."""
        self._served = None
        if task := self._task:
            task.cancel()
            await asyncio.wait((task,))

    def _begin(self) -> None:
        if self._called and self._served and self._task is None:
            self._called = False
            self._task = asyncio.create_task(self._served.work(), context=self._served.context)
            self._task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error and self._served:
            self._served.broken(error)
            self._served = None
        self._begin()
