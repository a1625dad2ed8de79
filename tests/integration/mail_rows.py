"""Rows that sends need, written as the product's own parts would, without their work."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from db.ids import uuid7
from db.session import Database
from tests.integration.database import SomeTenant

_SERVER = text(
    "INSERT INTO vps_servers (id, tenant_id, workspace_id, provider, ip_address, hostname, size, region, status,"
    " probe_password_sealed) VALUES (:id, :tenant, :workspace, 'local', '10.77.1.1', :hostname, 'small', 'here',"
    " :status, :probe)"
)
_DOMAIN = text("INSERT INTO domains (id, tenant_id, name) VALUES (:id, :tenant, :name)")
_INBOX = text(
    "INSERT INTO inboxes (id, tenant_id, workspace_id, domain_id, email_address, vps_id, password_hash, status,"
    " daily_send_limit) VALUES (:id, :tenant, :workspace, :domain, :address, :vps, '{ARGON2ID}x', :status, :limit)"
)
_SEND = text(
    "INSERT INTO messages (tenant_id, id, workspace_id, inbox_id, vps_id, priority, envelope_sender, recipient,"
    " signing_domain, subject, payload, send_at, isolated)"
    " VALUES (:tenant, :id, :workspace, :inbox, :vps, :priority, 'a@penguin.example', :recipient,"
    " 'penguin.example', 'Fish', :payload, :send_at, (SELECT isolated FROM tenants WHERE id = :tenant))"
)
_STATES = text("SELECT id, state FROM messages WHERE id = ANY(:ids)")


@dataclass(frozen=True, slots=True)
class SomeInbox:
    """An inbox on a server of one tenant."""

    tenant: SomeTenant
    vps_id: uuid.UUID
    id: uuid.UUID
    address: str


async def make_server(
    database: Database, tenant: SomeTenant, *, status: str = "ready", probe_password_sealed: bytes = b"sealed"
) -> uuid.UUID:
    server_id = uuid.uuid4()
    row = {
        "id": server_id,
        "tenant": tenant.id,
        "workspace": tenant.workspace_id,
        "hostname": f"mx-{server_id.hex[:8]}.penguin.example",
        "status": status,
        "probe": probe_password_sealed,
    }
    async with database.system() as session:
        await session.execute(_SERVER, row)
    return server_id


async def make_inbox(
    database: Database, tenant: SomeTenant, vps_id: uuid.UUID, *, limit: int = 10_000, status: str = "ready"
) -> SomeInbox:
    domain_id, inbox_id = uuid.uuid4(), uuid.uuid4()
    name = f"{domain_id.hex[:8]}.example"
    row = {
        "id": inbox_id,
        "tenant": tenant.id,
        "workspace": tenant.workspace_id,
        "domain": domain_id,
        "address": f"sales@{name}",
        "vps": vps_id,
        "status": status,
        "limit": limit,
    }
    async with database.system() as session:
        await session.execute(_DOMAIN, {"id": domain_id, "tenant": tenant.id, "name": name})
        await session.execute(_INBOX, row)
    return SomeInbox(tenant, vps_id, inbox_id, f"sales@{name}")


async def make_sends(
    database: Database,
    inbox: SomeInbox,
    count: int,
    *,
    priority: int = 1,
    recipient: str = "b@walrus.example",
    due_in: timedelta = timedelta(0),
    payload: bytes = b"Subject: Fish\r\n\r\nHerring.\r\n",
) -> list[uuid.UUID]:
    """Insert waiting sends and return their ids in the order in which they are due."""
    ids = [uuid7() for _ in range(count)]
    start = datetime.now(UTC) - timedelta(minutes=1) + due_in
    rows = [
        {
            "tenant": inbox.tenant.id,
            "id": send_id,
            "workspace": inbox.tenant.workspace_id,
            "inbox": inbox.id,
            "vps": inbox.vps_id,
            "priority": priority,
            "recipient": recipient,
            "payload": payload,
            "send_at": start + timedelta(milliseconds=place),
        }
        for place, send_id in enumerate(ids)
    ]
    async with database.system() as session:
        await session.execute(_SEND, rows)
    return ids


async def states_of(database: Database, ids: Sequence[uuid.UUID]) -> list[str]:
    """Return the states of sends in the order of their ids."""
    async with database.system() as session:
        states = {row.id: row.state for row in await session.execute(_STATES, {"ids": list(ids)})}
    return [states[send_id] for send_id in ids]
