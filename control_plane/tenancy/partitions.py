"""A tenant's own partitions of the tables that grow, in a schema of its own: made, and taken away again.

Whoever owns the tables does this. Nobody has a right to a partition or to its schema: its rows are reached through the
table, and should a grant ever be one too many, it forces the table's policies itself.
"""

import uuid

from psycopg import sql
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.tenancy.briefly import briefly
from db.session import Database

#: Sends before their events, which refer to them.
TABLES = ("messages", "message_events")

# So that no statement which was planned before is still to run after; and what sends refer to has triggers for them,
# which come and go with a partition. In the order in which a send is accepted.
_ALONE = ("ACCESS EXCLUSIVE", ("tenants", "workspaces", "vps_servers", "inboxes", *TABLES))
_IS_PARTITION = text("SELECT coalesce((SELECT relispartition FROM pg_class WHERE oid = to_regclass(:name)), false)")
_MAKE = sql.SQL("CREATE TABLE IF NOT EXISTS {own} (LIKE {table} INCLUDING ALL EXCLUDING STATISTICS)")
_GUARD = text("SELECT guard_partition(to_regclass(:own), to_regclass(:table))")
_ATTACH = sql.SQL("ALTER TABLE {branch} ATTACH PARTITION {own} FOR VALUES IN ({tenant})")
_DETACH = sql.SQL("ALTER TABLE {branch} DETACH PARTITION {own}")
_MAKE_SCHEMA = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}")
_DROP_TABLE = sql.SQL("DROP TABLE IF EXISTS {}")
_DROP_SCHEMA = sql.SQL("DROP SCHEMA IF EXISTS {}")


def schema_of(tenant_id: uuid.UUID) -> str:
    """Return the name of a tenant's own schema."""
    return f"tenant_{tenant_id.hex}"


async def make_partitions(owner: Database, tenant_id: uuid.UUID) -> None:
    """Make a tenant's empty partitions, as far as there are none.

    They are made beside the tables and put in place in a transaction of their own, which has the tables to itself for
    some milliseconds. Raises `Unavailable` when it never gets them.
    """
    async with owner.system() as session:
        await session.execute(_written(_MAKE_SCHEMA.format(sql.Identifier(schema_of(tenant_id)))))
        for table in await _in_place(session, tenant_id, wanted=False):
            await session.execute(_written(_MAKE.format(own=_own(tenant_id, table), table=sql.Identifier(table))))
            await session.execute(_GUARD, {"own": f"{schema_of(tenant_id)}.{table}", "table": table})

    async def attach(session: AsyncSession) -> None:
        for table in await _in_place(session, tenant_id, wanted=False):
            await session.execute(
                _written(
                    _ATTACH.format(
                        branch=_branch(table), own=_own(tenant_id, table), tenant=sql.Literal(str(tenant_id))
                    )
                )
            )

    await briefly(owner, *_ALONE, attach)


async def drop_partitions(owner: Database, tenant_id: uuid.UUID) -> None:
    """Take a tenant's partitions away, and their schema; they must be empty, and stay so. Raises `Unavailable`."""

    async def drop(session: AsyncSession) -> None:
        for table in reversed(await _in_place(session, tenant_id, wanted=True)):
            await session.execute(_written(_DETACH.format(branch=_branch(table), own=_own(tenant_id, table))))
        for table in reversed(TABLES):
            await session.execute(_written(_DROP_TABLE.format(_own(tenant_id, table))))
        await session.execute(_written(_DROP_SCHEMA.format(sql.Identifier(schema_of(tenant_id)))))

    await briefly(owner, *_ALONE, drop)


async def _in_place(session: AsyncSession, tenant_id: uuid.UUID, *, wanted: bool) -> list[str]:
    """Return the tables of which the tenant has a partition, or has none."""
    return [
        table
        for table in TABLES
        if await session.scalar(_IS_PARTITION, {"name": f"{schema_of(tenant_id)}.{table}"}) is wanted
    ]


def _own(tenant_id: uuid.UUID, table: str) -> sql.Identifier:
    return sql.Identifier(schema_of(tenant_id), table)


def _branch(table: str) -> sql.Identifier:
    """Return the name of what holds all that was moved out of everybody's partition."""
    return sql.Identifier(f"{table}_isolated")


def _written(statement: sql.Composed) -> TextClause:
    """Return the statement for an execution without values: nothing in it is one."""
    return text(statement.as_string().replace(":", "\\:"))
