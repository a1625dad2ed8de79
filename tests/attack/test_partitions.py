"""A partition that is named itself is as closed as its table."""

import psycopg
import pytest
from psycopg import sql

from control_plane.embedded.postgres import OWNER
from control_plane.tenancy.partitions import TABLES, schema_of
from tests.attack.ground import Ground
from tests.attack.sql_attacks import name_tenant

_POLICIES = """
SELECT p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[]::text,
    regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\\w+\\.', '', 'g'),
    regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '\\w+\\.', '', 'g')
FROM pg_policy p WHERE p.polrelid = %s::oid ORDER BY 1
"""
_PARTITIONS = """
SELECT i.inhrelid, i.inhrelid::regclass::text, i.inhparent, c.relrowsecurity AND c.relforcerowsecurity
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f')
"""


def unguarded(owner: psycopg.Connection) -> list[str]:
    """Return the partitions, in whatever schema, that do not force the policies of their table."""
    found = []
    for oid, name, parent, forced in owner.execute(_PARTITIONS).fetchall():
        own, its = (owner.execute(_POLICIES, [each]).fetchall() for each in (oid, parent))
        found += [] if forced and own == its != [] else [name]
    return found


def test_each_partition_forces_the_policies_of_its_table(ground: Ground) -> None:
    with psycopg.connect(ground.database.url(OWNER)) as owner:
        assert len(owner.execute(_PARTITIONS).fetchall()) > 3
        assert unguarded(owner) == []


def test_a_partition_with_rows_shows_another_tenant_none_though_it_may_be_read(ground: Ground) -> None:
    """The right to read it is given for the test alone: the policy must hold where a grant is one too many."""
    with psycopg.connect(ground.database.url(OWNER)) as owner:
        owner.execute("GRANT SELECT ON health_samples_slot_00 TO penguin_api")
        shown = "SELECT tenant_id FROM health_samples_slot_00"
        assert len(owner.execute(shown).fetchall()) == 3
        owner.execute("SET ROLE penguin_api")
        name_tenant(owner, str(ground.attacker.id))
        assert owner.execute(shown).fetchall() == [(ground.attacker.id,)]
        name_tenant(owner, "")
        assert owner.execute(shown).fetchall() == []
        owner.rollback()


@pytest.mark.parametrize("table", TABLES)
def test_a_tenants_own_partition_shows_nobody_else_a_row_though_it_may_be_read(ground: Ground, table: str) -> None:
    with psycopg.connect(ground.database.url(OWNER)) as owner:
        schema = schema_of(ground.victim.id)
        shown = sql.SQL("SELECT tenant_id FROM {}").format(sql.Identifier(schema, table))
        assert owner.execute(shown).fetchall() == [(ground.victim.id,)]
        owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {0} TO penguin_api").format(sql.Identifier(schema)))
        owner.execute(sql.SQL("GRANT SELECT ON {} TO penguin_api").format(sql.Identifier(schema, table)))
        owner.execute("SET ROLE penguin_api")
        for named, rows in ((ground.victim.id, 1), (ground.attacker.id, 0), ("", 0)):
            name_tenant(owner, str(named))
            assert len(owner.execute(shown).fetchall()) == rows
        owner.rollback()
