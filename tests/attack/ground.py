"""A database with three tenants that have one of everything: who attacks, who is attacked, and who stands by.

The sends of the two that meet lie in partitions of their own, in a schema each.
"""

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from control_plane.embedded.postgres import OWNER
from control_plane.tenancy.isolation import isolate_tenant
from db.session import Database
from tests.attack.rows import Catalogue, Rows, fill, fill_workspace, loosen, read_catalogue
from tests.integration.database import FreshDatabase

#: Nobody is called so: where one of these turns up, it came out of a row of its tenant.
ATTACKER, VICTIM, BYSTANDER = "zzattackerq7", "zzvictimk3", "zzbystanderw9"

Sums = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Ground:
    """A filled database. What is whose is known by heart, so that nobody needs to be asked."""

    database: FreshDatabase
    catalogue: Catalogue
    attacker: Rows
    victim: Rows
    bystander: Rows

    @property
    def name(self) -> str:
        return self.database.name

    @contextmanager
    def as_role(self, role: str) -> Iterator[psycopg.Connection]:
        """Connect as a role of the product; nothing is committed but what the caller commits."""
        with psycopg.connect(self.database.url(role)) as connection:
            yield connection
            connection.rollback()

    def sums_of(self, rows: Rows) -> Sums:
        """Return a checksum of each row of a tenant, by table."""
        with psycopg.connect(self.database.url(OWNER)) as owner:
            return {table: _sums(owner, table, column, rows) for table, column in self._columns()}

    def _columns(self) -> Iterator[tuple[str, str]]:
        for table in self.catalogue.tenant_tables:
            yield table, self.catalogue.of_tenants(table) or ""


def make_ground(database: FreshDatabase) -> Ground:
    """Fill a migrated database, and have the planner know what is in it, as it would."""
    with psycopg.connect(database.url(OWNER), autocommit=True) as owner:
        catalogue = read_catalogue(owner)
        loosen(owner)
        attacker, victim, bystander = (fill(owner, catalogue, mark) for mark in (ATTACKER, VICTIM, BYSTANDER))
        with ThreadPoolExecutor(1) as thread:
            for each in (attacker, victim):
                thread.submit(asyncio.run, _isolated(database, each.id)).result()
        owner.execute("ANALYZE")
    return Ground(database, catalogue, attacker, victim, bystander)


def make_neighbours(database: FreshDatabase) -> Ground:
    """Do the same with a victim that is another workspace of the attacker's tenant; each has callers of its own."""
    with psycopg.connect(database.url(OWNER), autocommit=True) as owner:
        catalogue = read_catalogue(owner)
        loosen(owner)
        attacker = fill_workspace(owner, catalogue, ATTACKER)
        victim = fill_workspace(owner, catalogue, VICTIM, attacker)
        bystander = fill(owner, catalogue, BYSTANDER)
        owner.execute("ANALYZE")
    return Ground(database, catalogue, attacker, victim, bystander)


async def _isolated(database: FreshDatabase, tenant_id: uuid.UUID) -> None:
    owner, system = (Database(database.url(role)) for role in (OWNER, "penguin_system"))
    await isolate_tenant(owner, system, tenant_id, lambda _, __: None)
    for each in (owner, system):
        await each.close()


def _sums(owner: psycopg.Connection, table: str, column: str, rows: Rows) -> tuple[str, ...]:
    query = sql.SQL("SELECT md5(t::text) FROM {} t WHERE {} = %s AND t::text ~ %s ORDER BY 1")
    # Of a tenant that has others' rows too, those that show whose they are.
    own = "|".join((rows.mark, *map(str, rows.ids().values()))) if rows.shared else ""
    found = owner.execute(query.format(sql.Identifier(table), sql.Identifier(column)), [rows.id, own])
    return tuple(value for (value,) in found)
