"""Engines and transactions: the one way to the database.

`Database` holds one engine for one PostgreSQL role. `tenant()` opens a transaction that sees one tenant's rows;
`system()` opens one for the system role, whose policies let it see all. The tenant is a transaction-local setting, so a
pooled connection can never carry it on. A role that could bypass row-level security is refused at start.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

#: Read by every policy (db/migrations). Nile's convention would be nile.tenant_id.
TENANT_SETTING = "app.tenant_id"
#: Read by the policies that restrict to some of the tenant's workspaces; '' for all of the tenant.
WORKSPACES_SETTING = "app.workspaces"

_SET = "SELECT set_config(%s, %s, true), set_config(%s, %s, true)"
_NARROW = "SELECT set_config(%s, %s, true)"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a transaction sees and writes: a tenant's rows, or those of some of its workspaces alone."""

    tenant_id: uuid.UUID
    #: None for the whole tenant.
    workspaces: frozenset[uuid.UUID] | None = None

    @property
    def within(self) -> str:
        """The workspaces as the setting has them, the same for the same ones."""
        return "" if self.workspaces is None else f"{{{','.join(sorted(map(str, self.workspaces)))}}}"


def with_idle_limit(url: str, seconds: float) -> str:
    """Return the URL for connections that lose a transaction in which their client says nothing for so long.

    For processes that others take over from: one that stands still in the middle of a transaction would hold its locks
    for as long as it stands.
    """
    options = f"-cidle_in_transaction_session_timeout={seconds * 1000:.0f}"
    return make_url(url).update_query_dict({"options": options}).render_as_string(hide_password=False)


class UnsafeRole(Exception):
    """The database role could bypass row-level security; use the roles that the migrations make."""


class Database:
    """One role's engine and pool.

    Of its connections `pool_size` are kept, and up to `overflow` more opened while all are in use. A new one plans
    each statement again, at ten times what a kept one takes.
    """

    def __init__(self, url: str, *, pool_size: int = 5, overflow: int = 10) -> None:
        # Parameters can be secrets, and errors are logged.
        self.engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=pool_size,
            max_overflow=overflow,
            pool_pre_ping=False,
            # That which was used last: its statements are prepared, and what the server keeps for it is at hand.
            pool_use_lifo=True,
            hide_parameters=True,
        )

    async def refuse_unsafe_role(self) -> None:
        """Raise `UnsafeRole` when the role is a superuser, bypasses row-level security, or owns a table."""
        query = text(
            "SELECT rolsuper OR rolbypassrls OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relowner = r.oid AND n.nspname = 'public')"
            " FROM pg_roles r WHERE rolname = current_user AND session_user = current_user"
        )
        async with self.engine.connect() as connection:
            if (await connection.execute(query)).scalar() is not False:
                raise UnsafeRole("connect as one of the roles that the migrations make, not as an owner or superuser")

    @asynccontextmanager
    async def tenant(self, reach: uuid.UUID | Reach) -> AsyncIterator[AsyncSession]:
        """Open a transaction that sees and writes only these rows; commit on leaving without an error.

        An id alone is the whole tenant. Whoever acts for a caller gives the reach of the caller's scope.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await _reach(await driver_connection(session), reach)
            yield session

    @asynccontextmanager
    async def tenant_connection(self, reach: uuid.UUID | Reach) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Do as `tenant`, and give psycopg's own connection: for the hottest paths, at half the CPU time."""
        async with self.engine.connect() as pooled:
            connection = await _driver(pooled)
            await _reach(connection, reach)
            yield connection
            # Left by an error, the pool rolls back.
            await connection.commit()

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction for work across tenants; only the system role sees rows in it."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def listening(self, *channels: str) -> AsyncIterator[AsyncConnection]:
        """Hold a connection of its own that LISTENs, in autocommit; read `.notifies()` of its driver connection."""
        async with self.engine.connect() as pooled:
            connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
            for channel in channels:
                await connection.execute(text(f'LISTEN "{channel}"'))
            yield connection

    async def close(self) -> None:
        """Close the pool."""
        await self.engine.dispose()


async def narrow(connection: psycopg.AsyncConnection[Any], reach: Reach) -> None:
    """Have the rest of a transaction that sees its tenant see and write only what the reach says."""
    await connection.execute(_NARROW, (WORKSPACES_SETTING, reach.within))


async def driver_connection(session: AsyncSession) -> psycopg.AsyncConnection[Any]:
    """Return psycopg's connection of the session's transaction, for hot paths whose SQL lies in a file of its own."""
    return await _driver(await session.connection())


async def _reach(connection: psycopg.AsyncConnection[Any], reach: uuid.UUID | Reach) -> None:
    whole = reach if isinstance(reach, Reach) else Reach(reach)
    await connection.execute(_SET, (TENANT_SETTING, str(whole.tenant_id), WORKSPACES_SETTING, whole.within))


async def _driver(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise TypeError(f"the engine's driver is not psycopg: {type(driver)}")
    return driver
