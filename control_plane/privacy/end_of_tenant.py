"""The end of a tenant: its keys are destroyed first, then its rows in all tables, so many at a time.

It is decided in one transaction (`begin_erasure`), and gone on with by whoever calls `erase_tenant`, as often as it
takes: the command itself, and the worker for one that was cut short. Tables are found by their tenant_id, so that a new
one is in it by being there. What is left is a tombstone: the tenant's id, when it was erased, and where its chain of
deeds ended. People who were in no other tenant go with it. A backup has the keys still, wrapped by the master key: it
opens until that is retired (`keys retire`).
"""

import uuid

from procrastinate import App
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.shred import shred
from control_plane.errors import Conflict, NotFound
from control_plane.messages.erased import ERASED
from control_plane.pipelines.jobs import UPKEEP_QUEUE
from db.models import metadata
from db.pages import in_pages
from db.session import Database

#: Rows deleted in one transaction.
PAGE = 5000

_TENANT = text("SELECT state FROM tenants WHERE id = :tenant FOR UPDATE")
_SERVERS = text("SELECT count(*) FROM vps_servers WHERE tenant_id = :tenant AND status <> 'deleted'")
_BEGIN = text("""
UPDATE tenants t
SET state = 'erasing',
    (audit_position, audit_hash) = (SELECT a.position, a.hash FROM audit_events a WHERE a.tenant_id = t.id
                                    ORDER BY a.position DESC LIMIT 1)
WHERE t.id = :tenant
""")
# Where a row lies is one partition's, so the partition is part of it.
_EMPTY = """
DELETE FROM {table}
WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM {table} WHERE tenant_id = :tenant LIMIT :page)
"""
# Whoever was in no other tenant goes too, with sessions, passkeys and all that is theirs; nobody is asked for the
# memberships that they had elsewhere once. Before the tenant's own rows, by which they are found.
_FORGET_PEOPLE = text("""
WITH theirs AS (
    SELECT DISTINCT m.person_id FROM memberships m WHERE m.tenant_id = :tenant
        AND NOT EXISTS (SELECT FROM memberships other JOIN tenants t ON t.id = other.tenant_id
                        WHERE other.person_id = m.person_id AND other.tenant_id <> m.tenant_id
                            AND other.ended_at IS NULL AND t.state NOT IN ('erasing', 'erased'))
    LIMIT :page
), left_behind AS (
    DELETE FROM memberships WHERE person_id IN (SELECT person_id FROM theirs)
)
DELETE FROM people WHERE id IN (SELECT person_id FROM theirs)
""")
_LEAVE = text("UPDATE sessions SET working_in = NULL WHERE working_in = :tenant")
_FINISH = text(
    "UPDATE tenants SET state = 'erased', erased_at = now(), name = :erased, plan_overrides = '{}'"
    " WHERE id = :tenant AND state = 'erasing'"
)
_ERASING = text("SELECT id FROM tenants WHERE state = 'erasing' ORDER BY id")


async def begin_erasure(session: AsyncSession, tenant_id: uuid.UUID) -> None:
    """Decide that a tenant is erased: from here on nothing of it works, and there is no way back.

    Raises `NotFound`, and `Conflict` while it has servers, or when it was erased before.
    """
    of = {"tenant": tenant_id}
    state = await session.scalar(_TENANT, of)
    if state is None:
        raise NotFound(f"there is no tenant {tenant_id}")
    if state == "erased":
        raise Conflict(f"tenant {tenant_id} was erased before")
    if servers := await session.scalar(_SERVERS, of):
        raise Conflict(f"tenant {tenant_id} has {servers} servers; remove them first")
    if state != "erasing":
        await session.execute(_BEGIN, of)
        await shred(session, tenant_id)


async def erase_tenant(database: Database, tenant_id: uuid.UUID) -> int:
    """Delete all that a tenant had which is being erased; return how many rows there were."""
    of = {"tenant": tenant_id}
    deleted = await in_pages(database, _FORGET_PEOPLE, of, PAGE)
    for table in tables():
        deleted += await in_pages(database, text(_EMPTY.format(table=table.name)), of, PAGE)
    async with database.system() as session:
        await session.execute(_LEAVE, of)
        await session.execute(_FINISH, {**of, "erased": ERASED})
    return deleted


async def erase_tenants(database: Database) -> None:
    """Go on with all that were begun."""
    async with database.system() as session:
        erasing = (await session.scalars(_ERASING)).all()
    for tenant_id in erasing:
        await erase_tenant(database, tenant_id)


def tables() -> list[Table]:
    """Return the tables of tenants' rows, those that refer to others first."""
    return [table for table in reversed(metadata.sorted_tables) if "tenant_id" in table.c]


def add_tenant_jobs(app: App, database: Database) -> None:
    """Add `privacy.erase_tenants`, every five minutes."""

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="privacy.erase_tenants", queue=UPKEEP_QUEUE, queueing_lock="privacy.erase_tenants")
    async def tenants_erased(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await erase_tenants(database)
