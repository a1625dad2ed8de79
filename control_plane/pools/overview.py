"""All further addresses of all tenants, for operators."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound

_TENANT = text("SELECT tenant_id FROM vps_servers WHERE id = :vps")
_ADDRESSES = text(
    "SELECT a.id, a.tenant_id, host(a.address) AS address, a.hostname, v.hostname AS server, a.state, a.state_reason,"
    " ARRAY(SELECT p.name FROM ip_pool_addresses m JOIN ip_pools p ON p.tenant_id = m.tenant_id AND p.id = m.pool_id"
    "       WHERE m.tenant_id = a.tenant_id AND m.address_id = a.id AND m.left_at IS NULL AND p.deleted_at IS NULL"
    "       ORDER BY p.name) AS pools,"
    " (SELECT count(*) FROM sender_bindings b WHERE b.address_id = a.id AND b.until IS NULL) AS senders,"
    " coalesce(sum(r.sent), 0) AS sent, coalesce(sum(r.deferred), 0) AS deferred,"
    " coalesce(sum(r.bounced), 0) AS bounced, coalesce(sum(r.complained), 0) AS complained"
    " FROM server_addresses a JOIN vps_servers v ON v.tenant_id = a.tenant_id AND v.id = a.vps_id"
    " LEFT JOIN address_reputation r ON r.address_id = a.id AND r.day > (now() AT TIME ZONE 'UTC')::date - 7"
    " WHERE a.state <> 'released' GROUP BY a.id, v.hostname ORDER BY v.hostname, a.hostname"
)


@dataclass(frozen=True, slots=True)
class PoolAddress:
    """One address, how many inboxes are bound to it, and the last seven days' mail."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    address: str | None
    hostname: str
    server: str
    state: str
    state_reason: str | None
    pools: list[str]
    senders: int
    sent: int
    deferred: int
    bounced: int
    complained: int


async def address_overview(session: AsyncSession) -> Sequence[PoolAddress]:
    """Return all addresses that are held, and those that could not be had; system role."""
    return [PoolAddress(*row) for row in await session.execute(_ADDRESSES)]


async def tenant_of_server(session: AsyncSession, vps_id: uuid.UUID) -> uuid.UUID:
    """Return whose server it is; system role. Raises `NotFound`."""
    tenant_id: uuid.UUID | None = await session.scalar(_TENANT, {"vps": vps_id})
    if tenant_id is None:
        raise NotFound("there is no such server")
    return tenant_id
