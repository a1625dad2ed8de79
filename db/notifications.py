"""LISTEN that outlives broken connections, and the errors that mean PostgreSQL is away.

A notification is a hint: it may be lost whenever the connection breaks. So `listen` also tells each time it has
connected anew, and whoever listens then looks at everything.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Never

import psycopg
import sqlalchemy.exc

from db.session import Database

#: Raised by SQLAlchemy, or by psycopg under it, when a statement could not run for a reason that time may mend.
DATABASE_AWAY = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    psycopg.OperationalError,
)

_SECONDS_BETWEEN_ATTEMPTS = 1.0

_log = logging.getLogger(__name__)


async def listen(database: Database, channels: tuple[str, ...], heard: Callable[[str | None], None]) -> Never:
    """Call `heard` with each notification's payload, and with None after each connection; never return."""
    while True:
        try:
            await _listen_once(database, channels, heard)
        except DATABASE_AWAY as error:
            _log.warning("not listening to %s: %s", ", ".join(channels), type(error).__name__)
        await asyncio.sleep(_SECONDS_BETWEEN_ATTEMPTS)


async def _listen_once(database: Database, channels: tuple[str, ...], heard: Callable[[str | None], None]) -> None:
    async with database.listening(*channels) as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        if not isinstance(driver, psycopg.AsyncConnection):
            raise TypeError("listening needs psycopg's asyncio driver")
        heard(None)
        try:
            async for notification in driver.notifies():
                heard(notification.payload)
        finally:
            # It still LISTENs, so nobody else may have it from the pool.
            await connection.invalidate()
