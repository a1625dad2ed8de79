"""Which database a command talks to: that of the running installation, or the one in the environment."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.embedded.installation_record import read_record
from control_plane.errors import Unavailable
from control_plane.processes.database_roles import system_url
from control_plane.processes.places import state_dir
from control_plane.tenancy.plans import limit_reached
from db.session import Database


class NoInstallation(Unavailable):
    """No installation runs."""


@asynccontextmanager
async def system_session(instance: str) -> AsyncIterator[AsyncSession]:
    """Open a transaction of the system role.

    Raises `NoInstallation`, `Unavailable` when nobody answers, and `PlanLimitReached` for what a plan does not allow.
    """
    database = Database(_system_url(instance), pool_size=1)
    try:
        async with database.system() as session:
            yield session
    except DBAPIError as error:
        raise limit_reached(error) or Unavailable(f"the database: {str(error.orig).strip()}") from None
    finally:
        await database.close()


def _system_url(instance: str) -> str:
    state = state_dir(instance)
    try:
        record = read_record(state)
    except PermissionError:
        raise NoInstallation("the installation belongs to root; run this as root") from None
    if record:
        return record.system_database_url
    if url := os.environ.get("PENGUIN_SYSTEM_DATABASE_URL"):
        return url
    if owner_url := os.environ.get("PENGUIN_DATABASE_URL"):
        return system_url(owner_url, state)
    raise NoInstallation("no installation runs here: start one with `./penguin up`, or set PENGUIN_DATABASE_URL")
