"""`domain`: sending domains, their keys and records; a change of keys, a repair."""

import asyncio
import uuid
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from sqlalchemy import Result, Row, text

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.dns.publishers.chosen import show_choice
from control_plane.errors import NotFound
from control_plane.inboxes.dkim_rotation import request_rotation
from control_plane.operators.acts import Act, record
from control_plane.provisioning.repairs import request_repair
from control_plane.tenancy.scope import TenantScope

domain_commands = typer.Typer(no_args_is_help=True, help="Sending domains: their DKIM keys, DNS records and host.")

Domain = Annotated[str, typer.Argument(metavar="NAME", help="The domain's name, as `domain list` shows it.")]

_LIST = text(
    "SELECT d.id, d.name, t.name AS tenant, coalesce(p.kind, 'installation') AS publisher,"
    " (SELECT string_agg(k.selector || ' ' || k.state, ', ' ORDER BY k.created_at) FROM dkim_keys k"
    "  WHERE k.domain_id = d.id) AS dkim_keys,"
    " (SELECT count(*) FROM inboxes i WHERE i.domain_id = d.id) AS inboxes,"
    " (SELECT count(DISTINCT (r.domain, r.record_type, r.record_name, r.record_value)) FROM dns_records r"
    "  JOIN inboxes i ON i.id = r.inbox_id WHERE i.domain_id = d.id AND r.verification_status <> 'verified')"
    " AS not_verified"
    " FROM domains d JOIN tenants t ON t.id = d.tenant_id LEFT JOIN dns_publishers p ON p.domain_id = d.id"
    " WHERE d.deleted_at IS NULL ORDER BY d.name"
)
_FIND = text("SELECT id, tenant_id FROM domains WHERE name = :name AND deleted_at IS NULL")
_KEYS = text(
    "SELECT selector, state, created_at, activated_at, retired_at FROM dkim_keys WHERE domain_id = :domain"
    " ORDER BY created_at, selector"
)
_RECORDS = text(
    "SELECT DISTINCT r.domain AS zone, r.record_name AS name, r.record_type AS type, r.record_value AS value,"
    " r.verification_status AS status, r.problem FROM dns_records r JOIN inboxes i ON i.id = r.inbox_id"
    " WHERE i.domain_id = :domain ORDER BY 1, 2, 3, 4"
)
# One run writes all of the domain's records.
_INBOX = text("SELECT id FROM inboxes WHERE domain_id = :domain AND status <> 'deleting' ORDER BY created_at LIMIT 1")
_LAST_RUN = text(
    "SELECT id, kind, state, reason FROM (SELECT id, kind, state, error AS reason, created_at FROM pipeline_runs"
    " WHERE subject_id = :domain) runs ORDER BY created_at DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class _Standing:
    id: uuid.UUID
    name: str
    publisher: str
    publisher_options: dict[str, str]
    dkim_keys: list[dict[str, Any]]
    records: list[dict[str, Any]]
    rotation: dict[str, Any] | None


@domain_commands.command("list")
def list_domains(as_json: Json = False, instance: Instance = "main") -> None:
    """List the sending domains of all tenants, their keys, and how many records are not verified."""
    rows = asyncio.run(_list(instance))
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        print("There are no domains yet: one comes with its first inbox.")


@domain_commands.command()
def show(name: Domain, as_json: Json = False, instance: Instance = "main") -> None:
    """Show a domain's DNS host, what each of its keys is doing, and its records as they were verified."""
    standing = asyncio.run(_show(instance, name))
    if as_json:
        print_json(asdict(standing))
        return
    print(f"{standing.name} {standing.id}, published by: {standing.publisher}")
    for rows in (standing.dkim_keys, standing.records):
        if rows:
            print()
            print_table(rows)
    if standing.rotation:
        reason = f": {standing.rotation['reason']}" if standing.rotation["reason"] else ""
        print(f"\nlast change of keys: {standing.rotation['state']}{reason}")


@domain_commands.command("rotate-dkim")
def rotate_dkim(name: Domain, as_json: Json = False, instance: Instance = "main") -> None:
    """Change a domain's DKIM key in the background, without a gap; the old one stays in the zone for three days."""
    _tell(asyncio.run(_rotate(instance, name)), f"the key of {name} is changed; `domain show` tells how far", as_json)


@domain_commands.command()
def repair(name: Domain, as_json: Json = False, instance: Instance = "main") -> None:
    """Write a domain's records into its zone again and verify them; nothing of others is taken away."""
    _tell(asyncio.run(_repair(instance, name)), f"the records of {name} are written; `domain show` tells", as_json)


def _tell(run: uuid.UUID, line: str, as_json: bool) -> None:
    if as_json:
        print_json({"run": run})
    else:
        say(line)


async def _list(instance: str) -> list[dict[str, Any]]:
    async with system_session(instance) as session:
        return _dicts(await session.execute(_LIST))


async def _show(instance: str, name: str) -> _Standing:
    async with system_session(instance) as session:
        domain = _found((await session.execute(_FIND, {"name": name})).one_or_none(), name)
        of = {"domain": domain.id}
        host = await show_choice(session, domain.tenant_id, domain.id)
        runs = _dicts(await session.execute(_LAST_RUN, of))
        return _Standing(
            id=domain.id,
            name=name,
            publisher=host.kind.value,
            publisher_options=dict(host.options),
            dkim_keys=_dicts(await session.execute(_KEYS, of)),
            records=_dicts(await session.execute(_RECORDS, of)),
            rotation=runs[0] if runs else None,
        )


async def _rotate(instance: str, name: str) -> uuid.UUID:
    async with system_session(instance) as session:
        domain = _found((await session.execute(_FIND, {"name": name})).one_or_none(), name)
        run_id = await request_rotation(session, domain.tenant_id, domain.id)
        await record(session, this_user(), Act.ROTATE_DKIM, _subject(domain, run_id))
        return run_id


async def _repair(instance: str, name: str) -> uuid.UUID:
    async with system_session(instance) as session:
        domain = _found((await session.execute(_FIND, {"name": name})).one_or_none(), name)
        inbox: uuid.UUID | None = await session.scalar(_INBOX, {"domain": domain.id})
        if inbox is None:
            raise NotFound(f"{name} has no inbox, and so no records.")
        run_id = await request_repair(session, TenantScope(domain.tenant_id, frozenset()), inbox)
        await record(session, this_user(), Act.REPAIR_DOMAIN, _subject(domain, run_id))
        return run_id


def _subject(domain: Row[Any], run_id: uuid.UUID) -> dict[str, object]:
    return {"tenant_id": domain.tenant_id, "domain_id": domain.id, "run_id": run_id}


def _found(row: Row[Any] | None, name: str) -> Row[Any]:
    if row is None:
        raise NotFound(f"there is no domain {name}; `domain list` shows them")
    return row


def _dicts(rows: Result[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows.mappings()]
