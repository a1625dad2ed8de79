"""The one thread that writes: it commits together whatever has been asked for meanwhile, then tells each asker."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from agent.journal.errors import JournalError, JournalUnavailable
from agent.journal.pace import Pace

T = TypeVar("T")

Operation = Callable[[sqlite3.Connection], T]
#: Operations in one commit; bounds how long the first of them waits for the last.
MAX_GROUP = 500


class _Job(Generic[T]):
    """An operation and the future of whoever asked for it."""

    def __init__(self, operation: Operation[T]) -> None:
        self._operation = operation
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self._result: list[T] = []
        self._error: JournalError | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        self._result = [self._operation(connection)]

    def fail(self, error: JournalError) -> None:
        self._error = error

    def tell(self) -> None:
        """Resolve the future, in its loop."""
        if self.future.done():
            return
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._result[0])


class Writer:
    """Owns the connection from `start` to `close`; `submit` is called in the event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._pace = Pace()
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation[T]) -> asyncio.Future[T]:
        """Have `operation` run inside a transaction; the future resolves after the commit that holds it.

        The future raises JournalUnavailable when nothing was written, what JournalError the operation raised, or a bare
        JournalError when the writer has stopped for good. An operation may run twice, the first time rolled back, and
        must not keep anything outside the connection.
        """
        job = _Job(operation)
        if self._thread.is_alive():
            self._jobs.put(job)  # type: ignore[arg-type]  # the queue holds jobs of every result
        else:
            job.fail(JournalError("the journal is closed"))
            job.tell()
        return job.future

    def close(self) -> None:
        """Finish what was submitted, then close the journal. Blocks until done."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        group: list[_Job[object]] = []
        try:
            while group := self._next_group():
                self._pace.held(len(group), time.monotonic())
                self._commit_or_isolate(group)
                _tell(group)
                group = []
        finally:
            # Reached with jobs only by a fault in an operation: whoever waits must not wait for ever.
            group += self._leftovers()
            for job in group:
                job.fail(JournalError("the journal's writer has stopped"))
            _tell(group)
            self._connection.close()

    def _next_group(self) -> list[_Job[object]]:
        """Wait for a job and return it with those already there; none once closed."""
        group: list[_Job[object]] = []
        job = self._jobs.get()
        # More may come together while commits follow each other fast.
        time.sleep(self._pace.next_after(time.monotonic()))
        while job is not None:
            group.append(job)
            if len(group) == MAX_GROUP or self._jobs.empty():
                return group
            job = self._jobs.get()
        if group:
            self._jobs.put(None)
        return group

    def _leftovers(self) -> list[_Job[object]]:
        jobs = []
        while not self._jobs.empty():
            if (job := self._jobs.get()) is not None:
                jobs.append(job)
        return jobs

    def _commit_or_isolate(self, group: Sequence[_Job[object]]) -> None:
        try:
            self._commit(group)
        except (sqlite3.Error, JournalError) as error:
            if len(group) == 1:
                group[0].fail(_as_journal_error(error))
                return
            # One of them is at fault, and the others must not suffer for it.
            for job in group:
                self._commit_or_isolate([job])

    def _commit(self, group: Sequence[_Job[object]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for job in group:
                job.run(self._connection)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _as_journal_error(error: sqlite3.Error | JournalError) -> JournalError:
    return error if isinstance(error, JournalError) else JournalUnavailable(f"the journal cannot write: {error}")


def _tell(group: Sequence[_Job[object]]) -> None:
    for loop in {job.loop for job in group}:
        if not loop.is_closed():
            loop.call_soon_threadsafe(_tell_in_loop, [job for job in group if job.loop is loop])


def _tell_in_loop(group: Sequence[_Job[object]]) -> None:
    for job in group:
        job.tell()
