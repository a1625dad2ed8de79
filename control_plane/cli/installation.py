"""Which database a command talks to: that of the running installation, or the one in the environment."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.cli.database import owner_url
from control_plane.embedded.installation_record import InstallationRecord, read_record
from control_plane.embedded.postgres import OWNER
from control_plane.errors import Unavailable
from control_plane.processes.database_roles import system_url
from control_plane.processes.places import state_dir
from control_plane.tenancy.plans import limit_reached
from db.session import Database


class NoInstallation(Unavailable):
    """No installation runs."""


@asynccontextmanager
async def system_session(instance: str) -> AsyncIterator[AsyncSession]:
    """Open a transaction of the system role; raises what `system_database` does."""
    async with system_database(instance) as database, database.system() as session:
        yield session


@asynccontextmanager
async def system_database(instance: str) -> AsyncIterator[Database]:
    """Open the database for the system role.

    Raises `NoInstallation`, `Unavailable` when nobody answers, and `PlanLimitReached` for what a plan does not allow.
    """
    async with _opened(_system_url(instance)) as database:
        yield database


@asynccontextmanager
async def owner_database(instance: str) -> AsyncIterator[Database]:
    """Open the database for its owner.

    Raises `NoInstallation`; `InvalidInput` when it is not ours and PENGUIN_DATABASE_URL is not set; `Unavailable`.
    """
    async with _opened(private_owner_url(instance) or owner_url()) as database:
        yield database


def private_owner_url(instance: str) -> str | None:
    """Return the owner's URL of the running installation's private database; None when it has none."""
    record = _record(instance)
    url = make_url(record.system_database_url) if record else None
    if url is None or url.password:
        return None
    return url.set(username=OWNER).render_as_string(hide_password=False)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=2)
    try:
        yield database
    except DBAPIError as error:
        raise limit_reached(error) or Unavailable(f"the database: {str(error.orig).strip()}") from None
    finally:
        await database.close()


def _record(instance: str) -> InstallationRecord | None:
    try:
        return read_record(state_dir(instance))
    except PermissionError:
        raise NoInstallation("the installation belongs to root; run this as root") from None


def _system_url(instance: str) -> str:
    if record := _record(instance):
        return record.system_database_url
    if url := os.environ.get("PENGUIN_SYSTEM_DATABASE_URL"):
        return url
    if url := os.environ.get("PENGUIN_DATABASE_URL"):
        return system_url(url, state_dir(instance))
    raise NoInstallation("no installation runs here: start one with `./penguin up`, or set PENGUIN_DATABASE_URL")
