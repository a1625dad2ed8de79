"""The installation's PostgreSQL: a private one, or the one that `PENGUIN_DATABASE_URL` names; migrated either way."""

import asyncio
from contextlib import AsyncExitStack

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.exc import DBAPIError

from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.errors import InvalidInput, Unavailable
from control_plane.processes.database_roles import API, IDENTITY, SYSTEM, DatabaseUrls, give_passwords, reached_at
from control_plane.processes.outside import carried, listen_inside
from control_plane.processes.places import Places
from control_plane.providers.local.network import NAMESPACES
from control_plane.providers.local.world import World
from db.migrations.run import upgrade

_LOOPBACK = "127.0.0.1"


async def private_database(
    places: Places, world: World, stack: AsyncExitStack
) -> tuple[DatabaseUrls, EmbeddedPostgres]:
    """Start the private PostgreSQL inside the world and migrate it; `stack` stops it. Raises `EmbeddedFailed`."""
    postgres = EmbeddedPostgres(
        places.postgres_data, places.runtime / "postgres", world.enter, places.logs / "postgres.log"
    )
    postgres.start()
    stack.callback(postgres.stop)
    await asyncio.to_thread(upgrade, postgres.url(OWNER))
    urls = DatabaseUrls(postgres.url(OWNER), postgres.url(API), postgres.url(SYSTEM), postgres.url(IDENTITY))
    return urls, postgres


async def brought_database(
    owner_url: str, places: Places, world: World, stack: AsyncExitStack
) -> tuple[DatabaseUrls, DatabaseUrls]:
    """Migrate the user's database, and give its roles their passwords.

    Returns the URLs as they are and as they are inside the world, where `stack` keeps a door to a server that is
    reached by TCP. Raises `InvalidInput` for a URL that cannot be used and `Unavailable` when nobody answers there.
    """
    server = _server_of(owner_url)
    try:
        await asyncio.to_thread(upgrade, owner_url)
        urls = await asyncio.to_thread(give_passwords, owner_url, places.state)
    except psycopg.Error as error:
        raise Unavailable(f"PENGUIN_DATABASE_URL: {_first_line(error)}") from None
    except DBAPIError as error:
        raise Unavailable(f"PENGUIN_DATABASE_URL: {_first_line(error.orig)}") from None
    if server is None:
        return urls, urls
    listener = listen_inside(NAMESPACES / world.name, _LOOPBACK, 0)
    port: int = listener.getsockname()[1]
    await stack.enter_async_context(carried(listener, lambda: asyncio.open_connection(*server)))
    each = (urls.owner, urls.api, urls.system, urls.identity)
    inside = DatabaseUrls(*(reached_at(url, _LOOPBACK, port) for url in each))
    return urls, inside


def _server_of(url: str) -> tuple[str, int] | None:
    """Return host and port of a libpq URL, None for a Unix socket."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise InvalidInput(f"PENGUIN_DATABASE_URL: {error}") from None
    host = str(parts.get("hostaddr") or parts.get("host") or "/")
    if not url.startswith("postgresql://") or "," in host:
        raise InvalidInput("PENGUIN_DATABASE_URL must be a postgresql:// URL of one server")
    return None if host.startswith("/") else (host, int(parts.get("port") or 5432))


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or ["it failed"])[0]
