"""What the tables hold, as a count and a hash of each: to be compared with what a restored database holds.

A hash does not depend on the order of rows: it is the sum of 60 bits of each row's MD5. It finds faults, not forgers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

_TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
  -- Tenants may have schemas of their own (control_plane/tenancy/partitions.py).
  AND (n.nspname = 'public' OR n.nspname ~ '^tenant_[0-9a-f]{32}$')
ORDER BY n.nspname, c.relname
"""
_DIGEST = sql.SQL(
    "SELECT count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0)::text FROM {table} t"
)
#: What rows look like as text depends on these.
_TEXT = (
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL bytea_output = 'hex';"
    " SET LOCAL extra_float_digits = 1"
)


@dataclass(frozen=True, slots=True)
class TableDigest:
    """How many rows a table has, and their hash."""

    rows: int
    hash: str


def tables_of(connection: psycopg.Connection) -> list[sql.Identifier]:
    """Return the names of all tables that hold rows of ours."""
    return [sql.Identifier(schema, name) for schema, name in connection.execute(_TABLES)]


def digest(connection: psycopg.Connection) -> dict[str, TableDigest]:
    """Return what each table holds for this transaction; the role must see past row-level security."""
    connection.execute(_TEXT)
    found = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        row = connection.execute(_DIGEST.format(table=sql.Identifier(schema, name))).fetchone()
        if row is not None:
            found[name if schema == "public" else f"{schema}.{name}"] = TableDigest(*row)
    return found


def differences(expected: Mapping[str, TableDigest], found: Mapping[str, TableDigest]) -> list[str]:
    """Return a sentence for each table that is not as it was. Pure."""
    told = []
    for name in sorted(expected.keys() | found.keys()):
        was, is_now = expected.get(name), found.get(name)
        if was == is_now:
            continue
        if was is None or is_now is None:
            told.append(f"{name} is {'missing' if is_now is None else 'there and was not'}")
        elif was.rows != is_now.rows:
            told.append(f"{name} has {is_now.rows} rows and had {was.rows}")
        else:
            told.append(f"{name} has other content in its {was.rows} rows")
    return told
