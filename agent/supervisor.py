"""Runs named tasks; the first that ends stops the rest in order.

Nothing in the agent goes on half alive: a task that fails, or returns though it should not, ends the process, and
systemd starts it again. Tasks are stopped in reverse order of their start, one after the other, so that whoever
consumes is gone before whoever it depends on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)


class StopForGood(Exception):
    """A task found that starting again would change nothing; the message tells the operator what would.

    `exit_status` is one that the unit's RestartPreventExitStatus names.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class TaskFailed(Exception):
    """A task raised, or returned though it should run for ever. Why was logged when it happened."""


class Supervisor:
    """Add tasks in the order of their start, then `run`."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._stop_asked = asyncio.Event()

    def add(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Name a task; `run` is called once, when the supervisor starts."""
        self._entries.append((name, run))

    def stop(self) -> None:
        """Ask for an orderly stop; `run` then returns."""
        self._stop_asked.set()

    async def run(self) -> None:
        """Run until `stop` is called or a task ends.

        Raises `StopForGood` or `TaskFailed` for the first task that ended, after all others have stopped.
        """
        failures: list[StopForGood | TaskFailed] = []
        tasks = [asyncio.create_task(_guard(name, run, failures), name=name) for name, run in self._entries]
        stopper = asyncio.create_task(self._wait_for_stop(), name="stop")
        try:
            await asyncio.wait([*tasks, stopper], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in [*reversed(tasks), stopper]:
                await _stop(task)
        if failures:
            raise failures[0]

    async def _wait_for_stop(self) -> None:
        await self._stop_asked.wait()


async def _guard(name: str, run: Callable[[], Awaitable[None]], failures: list[StopForGood | TaskFailed]) -> None:
    try:
        await run()
    except StopForGood as stop:
        logger.error("task stopped for good task=%s reason=%s", name, stop)  # noqa: TRY400 - a decision, not a fault
        failures.append(stop)
    except Exception as error:
        logger.exception("task failed task=%s", name)
        failures.append(TaskFailed(f"{name}: {error!r}"))
    else:
        logger.error("task returned task=%s", name)
        failures.append(TaskFailed(f"{name} returned"))


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    logger.debug("task stopped task=%s", task.get_name())
