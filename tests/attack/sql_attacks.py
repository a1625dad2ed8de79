"""Attacks by SQL, with the rights of a role of the product and whatever tenant its transaction names.

Each takes a connection that is in a transaction, leaves nothing behind, and returns what it found: sentences, or
nothing. What there is to attack comes from the catalogue, so a new table, column, partition, view or function is
attacked by being there.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from tests.attack.ground import Ground
from tests.attack.rows import Rows

_RELATIONS = """
SELECT c.relname, array(SELECT a.attname FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND has_column_privilege(c.oid, a.attnum, %(right)s) ORDER BY a.attnum)
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY c.relname
"""
_OF_TENANTS = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND (n.nspname LIKE 'tenant\\_%' OR c.relname LIKE 'message%\\_isolated'
    OR c.relname LIKE 'message%\\_shared')
"""
_FOREIGN_KEYS = """
SELECT c.relname, array(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (k.conkey))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
"""
_FUNCTIONS = """
SELECT p.oid::regproc::text, array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t)
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype <> 'trigger'::regtype AND p.prokind = 'f'
    AND has_function_privilege(p.oid, 'EXECUTE')
"""
_AROUND = (
    *("SELECT FROM {}", "SELECT tenant_id FROM {}", "INSERT INTO {} DEFAULT VALUES"),
    *("UPDATE {} SET isolated = isolated", "DELETE FROM {}", "TRUNCATE {}", "LOCK {} IN ACCESS SHARE MODE"),
)
Statement = sql.SQL | sql.Composed
_NO_ENDING = sql.SQL("")
#: Where PostgreSQL itself keeps what it has seen of rows and statements.
_KEPT_BY_THE_SERVER = ("pg_stats", "pg_stats_ext", "pg_stat_activity", "pg_largeobject_metadata", "pg_prepared_xacts")


def name_tenant(connection: psycopg.Connection, tenant: str | None, *, whole_session: bool = False) -> None:
    """Have the transaction name a tenant, or none."""
    if tenant is not None:
        connection.execute("SELECT set_config('app.tenant_id', %s, %s)", [tenant, not whole_session])


def neighbour(value: uuid.UUID) -> uuid.UUID:
    """Return an id that nothing has, and that every order puts where the other is."""
    return uuid.UUID(int=value.int ^ 1)


def traces(rows: Rows, content: object) -> list[str]:
    """Return what of a tenant turns up in something: its mark and its ids."""
    text = str(content)
    return [each for each in (rows.mark, *map(str, rows.ids().values())) if each in text]


def reading(connection: psycopg.Connection, ground: Ground) -> list[str]:
    """Read all that may be read, by SELECT and by COPY; rows of the victim are findings."""
    found = []
    for relation, columns in _with_right(connection, "SELECT"):
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        select = sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(relation))
        copied = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, sql.Identifier(relation))
        for statement in (select, copied):
            found += [f"{relation} shows {trace}" for trace in traces(ground.victim, _rows(connection, statement))]
    for relation in _KEPT_BY_THE_SERVER:
        statement = sql.SQL("SELECT * FROM {}").format(sql.Identifier(relation))
        found += [f"{relation} shows {trace}" for trace in traces(ground.victim, _rows(connection, statement))]
    return found


def going_around(connection: psycopg.Connection, _ground: Ground) -> list[str]:
    """Name partitions of sends and their events themselves, tenants' own among them; all must be refused."""
    found = []
    for (name,) in connection.execute(_OF_TENANTS).fetchall():
        for statement in _AROUND:
            done = _count(connection, sql.SQL(statement.format(name)))
            found += [f"{statement.format(name)} was allowed"] if done >= 0 else []
    return found


def missing_own(connection: psycopg.Connection, ground: Ground, own: Rows) -> list[str]:
    """Return the tables that do not show a tenant its own row: an attack on those would prove nothing."""
    readable = dict(_with_right(connection, "SELECT"))
    found = []
    for table in ground.catalogue.tenant_tables:
        column = ground.catalogue.of_tenants(table) or ""
        if column in readable.get(table, []):
            count = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
                sql.Identifier(table), sql.Identifier(column)
            )
            [rows] = connection.execute(count, [own.id]).fetchone() or [0]
            found += [] if rows else [f"{table} hides a tenant's own row from it"]
    return found


def changing(connection: psycopg.Connection, ground: Ground, own_rows: int) -> list[str]:
    """Update each column that may be, of all rows there are; more than one's own is found."""
    found = []
    for table, columns in _with_right(connection, "UPDATE"):
        for column in columns:
            value = _adapted(ground.attacker.values.get((table, column)))
            update = sql.SQL("UPDATE {} SET {} = %s").format(sql.Identifier(table), sql.Identifier(column))
            changed = _count(connection, update, [value])
            found += [f"UPDATE {table} ({column}) reached {changed} rows"] if changed > own_rows else []
    return found + locking(connection, ground)


def locking(connection: psycopg.Connection, ground: Ground, may_delete: Collection[str] = ()) -> list[str]:
    """Delete, empty and lock what is everybody's; a right to delete is one to lock."""
    found = []
    for table in (each for each in ground.catalogue.columns if each not in may_delete):
        for statement in ("DELETE FROM {}", "TRUNCATE {} CASCADE", "LOCK {} IN ACCESS EXCLUSIVE MODE"):
            done = _count(connection, sql.SQL(statement).format(sql.Identifier(table)))
            found += [f"{statement.format(table)} was allowed"] if done >= 0 else []
    return found


def moving(connection: psycopg.Connection, ground: Ground) -> list[str]:
    """Give one's own rows to the victim, and take the victim's."""
    found = []
    for table in ground.catalogue.tenant_tables:
        column = ground.catalogue.of_tenants(table) or ""
        for to in (ground.victim, ground.attacker):
            update = sql.SQL("UPDATE {} SET {} = %s").format(sql.Identifier(table), sql.Identifier(column))
            moved = _count(connection, update, [to.id])
            found += [f"UPDATE {table} moved {moved} rows to {to.mark}"] if moved > 0 else []
    return found


def planting(connection: psycopg.Connection, ground: Ground) -> list[str]:
    """Insert rows as the victim's, in each way that INSERT has."""
    found = []
    endings = [sql.SQL(each) for each in ("", "ON CONFLICT DO NOTHING", "ON CONFLICT DO NOTHING RETURNING *")]
    for table, columns in _with_right(connection, "INSERT"):
        if table not in ground.catalogue.columns:
            found.append(f"{table} takes rows and is no table of the catalogue")
            continue
        if ground.catalogue.of_tenants(table) not in columns:
            continue
        for ending in endings:
            for values in (_new(ground, table, ground.victim), ground.victim.values):
                planted = _insert(connection, table, columns, values, ending)
                found += (
                    [f"INSERT {ending.as_string()} into {table} as the victim's: {planted}"] if _passed(planted) else []
                )
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        found += [f"COPY fills {table}"] if _rows(connection, copy) == b"" else []
    return found


def taking_over(connection: psycopg.Connection, ground: Ground) -> list[str]:
    """Insert one's own row over the victim's key, to change or to see what is there already."""
    found = []
    updatable = dict(_with_right(connection, "UPDATE"))
    for table, columns in _with_right(connection, "INSERT"):
        if table not in updatable or (own := ground.catalogue.of_tenants(table)) not in columns:
            continue
        values = {**ground.victim.values, (table, own): ground.attacker.id}
        key = _primary_key(connection, table)
        if own in key or not set(key) <= set(columns):
            continue
        target = sql.SQL(", ").join(map(sql.Identifier, key))
        column = sql.Identifier(updatable[table][0])
        ending = sql.SQL("ON CONFLICT ({}) DO UPDATE SET {} = excluded.{} RETURNING *").format(target, column, column)
        taken = _insert(connection, table, columns, values, ending)
        found += [f"INSERT … DO UPDATE took over {table}: {taken}"] if _passed(taken) else []
    return found


def referring(connection: psycopg.Connection, ground: Ground) -> list[str]:
    """Insert one's own rows that refer to the victim's: refused, and in the words for what nobody has."""
    found = []
    insertable = dict(_with_right(connection, "INSERT"))
    for table, constrained in connection.execute(_FOREIGN_KEYS).fetchall():
        if not {"tenant_id", *constrained} <= set(insertable.get(table, [])):
            continue
        # What is the platform's is nobody's to hide, and where a row lies says nothing of what it is.
        others = (each for each in constrained if each not in {"tenant_id", "isolated"})
        referring = [
            each for each in others if ground.catalogue.of_tenants(ground.catalogue.references[table, each][0])
        ]
        if not referring:
            continue
        theirs, nobodys = (_new(ground, table, ground.attacker) for _ in range(2))
        for column in referring:
            value = ground.victim.values[ground.catalogue.references[table, column]]
            theirs[table, column] = value
            nobodys[table, column] = neighbour(value) if isinstance(value, uuid.UUID) else f"{value}x"
        answers = [
            _insert(connection, table, insertable[table], values).replace(str(values[table, referring[0]]), "…")
            for values in (theirs, nobodys)
        ]
        found += [f"{table} took a reference to the victim's {referring}"] if _passed(answers[0]) else []
        # A key of ids alone tells who has another's id already that it is one: those are not to be guessed.
        if answers[0] != answers[1] and not answers[0].startswith("UniqueViolation"):
            found.append(f"{table} tells by {referring} what there is: {answers}")
    return found


def calling(connection: psycopg.Connection, ground: Ground) -> list[str]:
    """Call every function with the victim's ids, and with ids that nobody has: the answers must not differ."""
    found = []
    for function, types in connection.execute(_FUNCTIONS).fetchall():
        call = sql.SQL("SELECT {}({})").format(
            sql.SQL(function), sql.SQL(", ").join(sql.SQL("%s::" + kind) for kind in types)
        )
        answers = []
        for tenant in (ground.victim.id, neighbour(ground.victim.id)):
            values = [_argument(kind, tenant) for kind in types]
            answers.append(str(_rows(connection, call, values)).replace(str(tenant), "…"))
        found += [f"{function} answers {answers}"] if answers[0] != answers[1] else []
        found += [f"{function} shows {trace}" for trace in traces(ground.victim, answers)]
    return found


def climbing(connection: psycopg.Connection, _ground: Ground) -> list[str]:
    """Try to be somebody else, to put the rules aside, and to reach the machine."""
    refused = (
        *("SET ROLE penguin_owner", "SET ROLE penguin_system", "SET SESSION AUTHORIZATION penguin_owner"),
        *("SET session_replication_role = replica", "ALTER TABLE domains DISABLE ROW LEVEL SECURITY"),
        *("DROP POLICY one_tenant ON domains", "CREATE POLICY mine ON domains USING (true)"),
        *("GRANT penguin_system TO CURRENT_USER", "ALTER ROLE CURRENT_USER BYPASSRLS", "CREATE ROLE another"),
        *("CREATE TABLE public.mine ()", "CREATE SCHEMA mine", "CREATE EXTENSION lo", "ALTER SYSTEM SET fsync = off"),
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        *(
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "COPY (SELECT 1) TO '/nowhere/file'",
            "SELECT pg_read_file('PG_VERSION')",
        ),
        *(
            "SELECT pg_ls_dir('.')",
            "SELECT lo_import('PG_VERSION')",
            "SELECT last_value FROM tenant_events_position_seq",
        ),
        *("SELECT setval('tenant_events_position_seq', 1)", "SELECT * FROM pg_authid", "SELECT * FROM pg_statistic"),
        *("SELECT lo_create(0)", "SELECT lo_creat(0)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_open(1, 1)"),
        *("SELECT * FROM pg_largeobject", "SET row_security = off; SELECT * FROM domains"),
    )
    return [f"{statement} was allowed" for statement in refused if _count(connection, sql.SQL(statement)) >= 0]


# ---------------------------------------------------------------- what they have in common


@contextmanager
def _undone(connection: psycopg.Connection) -> Iterator[None]:
    with connection.transaction(force_rollback=True):
        yield


def _with_right(connection: psycopg.Connection, right: str) -> Sequence[tuple[str, list[str]]]:
    rows = connection.execute(_RELATIONS, {"right": right}).fetchall()
    return [(name, columns) for name, columns in rows if columns]


def _primary_key(connection: psycopg.Connection, table: str) -> list[str]:
    query = (
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
        " WHERE i.indisprimary AND i.indrelid = %s::regclass"
    )
    return [name for (name,) in connection.execute(query, [table])]


def _rows(connection: psycopg.Connection, statement: Statement, values: Sequence[object] = ()) -> object:
    """Return all that a statement shows, or how it was refused: what is said then is looked through too."""
    try:
        with _undone(connection):
            text = statement.as_string()
            if text.startswith("COPY"):
                with connection.cursor().copy(statement) as copy:
                    return b"" if text.endswith("STDIN") else b"".join(map(bytes, copy))
            return connection.execute(statement, values).fetchall()
    except psycopg.Error as error:
        return str(error)


def _count(connection: psycopg.Connection, statement: Statement, values: Sequence[object] | None = None) -> int:
    """Return how many rows a statement reached, or -1 when it was refused."""
    try:
        with _undone(connection):
            reached: int = connection.execute(statement, values).rowcount
            return max(reached, 0)
    except psycopg.Error:
        return -1


def _new(ground: Ground, table: str, owner: Rows) -> dict[tuple[str, str], Any]:
    """Return the values of a new row of a tenant, with ids and names that nobody has yet."""
    values = dict(owner.values)
    for column in ground.catalogue.columns[table]:
        place = (table, column.name)
        if place in ground.catalogue.references or place == ("tenants", "id"):
            continue
        if isinstance(values.get(place), uuid.UUID):
            values[place] = uuid.uuid4()
        elif column.name in {"name", "hostname", "email_address", "prefix", "key", "selector"}:
            values[place] = uuid.uuid4().hex[:12]
    return values


def _insert(
    connection: psycopg.Connection,
    table: str,
    columns: Sequence[str],
    values: Mapping[tuple[str, str], Any],
    ending: Statement = _NO_ENDING,
) -> str:
    """Return what became of an INSERT: how many rows, or the error's class and first line."""
    written = [column for column in columns if (table, column) in values]
    insert = sql.SQL("INSERT INTO {} ({}) VALUES ({}) {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, written)),
        sql.SQL(", ").join(sql.Placeholder() for _ in written),
        ending,
    )
    try:
        with _undone(connection):
            rows = connection.execute(insert, [_adapted(values[table, column]) for column in written]).rowcount
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return f"{rows} rows" if rows else "nothing"
    except InsufficientPrivilege as error:
        return f"InsufficientPrivilege: {error}"
    except psycopg.Error as error:
        return f"{type(error).__name__}: {error}"


def _passed(outcome: str) -> bool:
    return outcome.endswith(" rows")


def _adapted(value: object) -> object:
    return Jsonb(value) if isinstance(value, dict) else value


def _argument(kind: str, tenant: uuid.UUID) -> object:
    match kind:
        case "uuid":
            return tenant
        case "jsonb":
            return Jsonb({})
        case "text" | "character varying":
            return "inboxes"
        case _:
            return None
