"""Have tables to oneself for a transaction that others hardly notice.

Whoever waits for a table's lock has all that come later wait as well. So such a transaction waits for its locks for a
moment only, and else tries again, each time for a longer moment: where somebody always writes it must outlast one of
them. All its waiting is shorter than the second after which PostgreSQL looks for those who wait in a circle, and fails
one of them: it is always this one that gives way. Its statements, and the pauses between them, are bounded too.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import TextClause, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Unavailable
from db.session import Database

T = TypeVar("T")

#: Milliseconds for which it waits for a lock the first time, and for all its locks at the most.
FIRST_MS, MOST_MS = 50, 900
#: Milliseconds for which one of its statements may run, and for which it may be idle.
STATEMENT_MS = 1000
#: So often it tries, up to a quarter of a second apart: for a minute or two.
MOST_TRIES = 100

_BUSY = (LockNotAvailable, DeadlockDetected)


async def briefly(
    database: Database, mode: str, tables: Sequence[str], work: Callable[[AsyncSession], Awaitable[T]]
) -> T:
    """Do `work` in a transaction that has the tables locked in a mode, and again while a lock is not free.

    The tables alone are locked and not their partitions, which nobody reaches but through them; so cleaning goes on.
    Raises `Unavailable` when they have not been free in all that time.
    """
    lock = text(f"LOCK TABLE {', '.join(f'ONLY {table}' for table in tables)} IN {mode} MODE")
    for tried in range(MOST_TRIES):
        try:
            async with database.system() as session:
                # One lock more, for what the work itself may have to wait for.
                await session.execute(_bounds(min(FIRST_MS * 2**tried, MOST_MS // (len(tables) + 1))))
                await session.execute(lock)
                return await work(session)
        except OperationalError as error:
            if not isinstance(error.orig, _BUSY):
                raise
        await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - so that two do not meet again
    raise Unavailable("others have the tables all the time; nothing is lost, so do it again later")


def _bounds(lock_ms: int) -> TextClause:
    return text(
        f"SET LOCAL lock_timeout = {lock_ms}; SET LOCAL statement_timeout = {STATEMENT_MS};"
        f" SET LOCAL idle_in_transaction_session_timeout = {STATEMENT_MS}"
    )
