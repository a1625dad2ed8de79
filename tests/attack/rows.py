"""Rows of a tenant in every table there is, made from the catalogue alone: a new table is in it by being there.

They are for being attacked, not for being worked with: foreign keys hold, and checks are kept where they list what a
column may be; the others are dropped in the database that is filled. Every text, and every name in octets, bears the
tenant's mark, so that a mark which turns up elsewhere is a leak.
"""

import datetime as dt
import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attnotnull, a.atttypmod - 4, t.typtype,
    a.attgenerated <> '' OR a.attidentity <> '',
    (SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder LIMIT 1)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'alembic_version' AND c.relname NOT LIKE 'procrastinate%'
ORDER BY c.relname, a.attnum
"""
_REFERENCES = """
SELECT r.relname, a.attname, f.relname, b.attname
FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (own, other)
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = pair.own
JOIN pg_attribute b ON b.attrelid = f.oid AND b.attnum = pair.other
WHERE k.contype = 'f' AND k.conparentid = 0 AND r.relnamespace = 'public'::regnamespace
"""
_CHECKS = """
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'c' AND k.connamespace = 'public'::regnamespace AND k.coninhcount = 0
"""
#: What refers to a row without a foreign key.
_REFERRING: Mapping[tuple[str, str], tuple[str, str]] = {
    ("pipeline_runs", "subject_id"): ("vps_servers", "id"),
    ("tenant_events", "subject_id"): ("messages", "id"),
    ("tenant_events", "workspace_id"): ("workspaces", "id"),
    ("webhook_deliveries", "subject_id"): ("messages", "id"),
}
_LISTED = re.compile(r"^CHECK \(+\"?(\w+)\"?\)?(?:::text)? = ANY \(+ARRAY\['([^']+)'")

#: What a row must be for the product to read it as its own; all else is as the catalogue says.
_FITTING: Mapping[tuple[str, str], Any] = {
    ("vps_servers", "provider"): "local",
    ("vps_servers", "status"): "ready",
    ("vps_servers", "mail_server_status"): "running",
    ("inboxes", "status"): "ready",
    ("inboxes", "daily_send_limit"): 10_000,
    ("tenants", "plan"): "unlimited",
    ("tenants", "plan_overrides"): {},
    ("messages", "state"): "delivered",
    # A send that sends itself again is never found by whoever begins with the first of a chain.
    ("messages", "resend_of"): None,
    ("messages", "isolated"): False,
    ("message_events", "kind"): "delivered",
    ("message_events", "detail"): {},
    ("pipeline_runs", "kind"): "vps.provision",
    ("server_commands", "kind"): "restart_mail_server",
    ("webhook_endpoints", "event_types"): [],
    ("api_keys", "scopes"): ["servers:read"],
    ("dns_publishers", "options"): {},
    ("tenant_events", "type"): "message.delivered",
    ("tenant_events", "data"): {},
    ("inboxes", "smtp_config"): {"host": "mx.example", "port": 587, "security": "starttls", "tls_port": 465},
    ("inboxes", "imap_config"): {"host": "mx.example", "port": 993, "security": "tls"},
    ("health_checks", "kind"): "ssl",
    ("security_events", "kind"): "logged-in",
    ("health_samples", "at"): dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    # For the whole tenant.
    ("api_keys", "workspaces"): None,
    ("memberships", "workspaces"): None,
    ("invitations", "workspaces"): None,
    ("kept_answers", "within"): "",
    ("idempotency_keys", "within"): "",
}
#: Of a tenant there is one of these, whatever workspaces it has.
_ONE_FOR_ALL = frozenset({"tenants", "tenant_data_keys", "suppression_keys", "audit_events", "mail_backup_targets"})


@dataclass(frozen=True, slots=True)
class _Column:
    table: str
    name: str
    type: str
    required: bool
    room: int
    made_by_itself: bool
    label: str | None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The columns of each table of ours, what they refer to, and the first value of those that are lists."""

    columns: Mapping[str, list[_Column]]
    references: Mapping[tuple[str, str], tuple[str, str]]
    listed: Mapping[tuple[str, str], str]

    def of_tenants(self, table: str) -> str | None:
        """Return the column that says whose a row is, or None where rows are nobody's."""
        if table == "tenants":
            return "id"
        return "tenant_id" if any(column.name == "tenant_id" for column in self.columns[table]) else None

    @property
    def tenant_tables(self) -> list[str]:
        return [table for table in self.columns if self.of_tenants(table)]


@dataclass(slots=True)
class Rows:
    """One tenant's row in each table."""

    id: uuid.UUID
    mark: str
    catalogue: Catalogue = field(repr=False)
    values: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    #: What is another's as well.
    shared: set[tuple[str, str]] = field(default_factory=set, repr=False)

    def ids(self) -> dict[tuple[str, str], uuid.UUID]:
        """Return every id that names something of this tenant, by table and column."""
        return {
            place: value
            for place, value in self.values.items()
            if isinstance(value, uuid.UUID) and place not in self.catalogue.references and place not in self.shared
        }


def read_catalogue(owner: psycopg.Connection) -> Catalogue:
    """Read what tables there are."""
    columns: dict[str, list[_Column]] = {}
    for table, name, kind, required, room, _, by_itself, label in owner.execute(_COLUMNS):
        columns.setdefault(table, []).append(_Column(table, name, kind, required, room, by_itself, label))
    references = dict(_REFERRING)
    for table, name, other, its in owner.execute(_REFERENCES):
        # A column in two keys is the tenant's, or says the same in both.
        references[table, name] = ("tenants", "id") if name == "tenant_id" else (other, its)
    listed = {}
    for table, _, check in owner.execute(_CHECKS):
        if found := _LISTED.match(check):
            listed[table, found[1]] = found[2]
    return Catalogue(columns, references, listed)


def loosen(owner: psycopg.Connection) -> None:
    """Drop the checks that rows made from the catalogue cannot know of; their content is not what is attacked."""
    for table, name, check in owner.execute(_CHECKS).fetchall():
        if not _LISTED.match(check):
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            owner.execute(drop.format(sql.Identifier(table), sql.Identifier(name)))


def fill(owner: psycopg.Connection, catalogue: Catalogue, mark: str) -> Rows:
    """Insert one row into each table for a new tenant; no trigger fires meanwhile."""
    return _insert(owner, Rows(uuid.uuid4(), mark, catalogue))


def fill_workspace(owner: psycopg.Connection, catalogue: Catalogue, mark: str, beside: Rows | None = None) -> Rows:
    """Do the same for a workspace: what can be of a workspace alone is of this one. `beside` has the same tenant."""
    rows = Rows(beside.id if beside else uuid.uuid4(), mark, catalogue)
    if beside:
        rows.values = {place: value for place, value in beside.values.items() if place[0] in _ONE_FOR_ALL}
        rows.shared = {*rows.values}
    workspace = rows.values["workspaces", "id"] = uuid.uuid4()
    for table, columns in catalogue.columns.items():
        names = {column.name for column in columns}
        if "workspaces" in names:
            rows.values[table, "workspaces"] = [workspace]
        if "within" in names:
            rows.values[table, "within"] = f"{{{workspace}}}"
    return _insert(owner, rows)


def _insert(owner: psycopg.Connection, rows: Rows) -> Rows:
    catalogue = rows.catalogue
    owner.execute("SET session_replication_role = replica")
    for table, columns in catalogue.columns.items():
        if table == "plans" or any(place[0] == table for place in rows.shared):
            continue
        written = [column for column in columns if not column.made_by_itself]
        # Of what is the platform's there may be one alone.
        insert = sql.SQL("INSERT INTO {} ({}) VALUES ({}) {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.Identifier(column.name) for column in written),
            sql.SQL(", ").join(sql.Placeholder() for _ in written),
            sql.SQL("" if catalogue.of_tenants(table) else "ON CONFLICT DO NOTHING"),
        )
        values = [_value(rows, column) for column in written]
        owner.execute(insert, [Jsonb(value) if isinstance(value, dict) else value for value in values])
    owner.execute("RESET session_replication_role")
    return rows


def _value(rows: Rows, column: _Column) -> Any:  # noqa: ANN401 - of any column
    place = (column.table, column.name)
    if place not in rows.values:
        # Whoever comes back here while it is being found refers to itself.
        rows.values[place] = None
        rows.values[place] = _found(rows, column)
    return rows.values[place]


def _found(rows: Rows, column: _Column) -> Any:  # noqa: ANN401 - of any column
    place = (column.table, column.name)
    catalogue = rows.catalogue
    if place in _FITTING:
        return _FITTING[place]
    if place == ("tenants", "id"):
        return rows.id
    if place in catalogue.references:
        table, name = catalogue.references[place]
        return _value(rows, next(each for each in catalogue.columns[table] if each.name == name))
    if place in catalogue.listed:
        return catalogue.listed[place]
    return column.label or _of_type(rows.mark, column)


def _of_type(mark: str, column: _Column) -> Any:  # noqa: ANN401 - of any column
    if column.type in {"text", "character varying"}:
        return _text(mark, column.name)[: column.room if column.room > 0 else None]
    if column.type == "timestamp with time zone":
        return dt.datetime.now(dt.UTC) + dt.timedelta(days=1) if column.required else None
    octets = hashlib.sha256(f"{mark} {column.table} {column.name}".encode()).digest()
    known: dict[str, Any] = {
        "uuid": uuid.uuid4(),
        "bytea": octets,
        "jsonb": {"is": mark},
        "text[]": [mark],
        "inet": f"fd77::{octets[0]:x}:{octets[1]:x}" if "ipv6" in column.name else f"127.77.{octets[0]}.{octets[1]}",
        "date": dt.datetime.now(dt.UTC).date(),
        "boolean": column.name in {"active", "enabled", "is_default", "applied"},
    }
    return known.get(column.type, [] if column.type.endswith("[]") else 0)


def _text(mark: str, column: str) -> str:
    if column in {"email", "email_address", "address", "recipient", "envelope_sender"}:
        return f"{column.replace('_', '-')}@{mark}.example"
    if column in {"name", "hostname", "domain", "signing_domain"}:
        return f"{mark}.example"
    return f"https://{mark}.example/" if column == "url" else f"{mark} {column}"
