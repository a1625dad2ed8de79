"""Ask for a server, or for its removal: rows in the caller's transaction; the worker does the rest."""

import secrets
import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.pipelines.runs import start_run
from control_plane.sealing import Sealer

_HOSTNAME_BYTES = 4
_PROBE_PASSWORD_BYTES = 24

_INSERT_SERVER = text(
    "INSERT INTO vps_servers (id, tenant_id, workspace_id, provider, hostname, size, region, probe_password_sealed,"
    "  ip_address)"
    " VALUES (:id, :tenant, :workspace, :provider, :hostname, :size, :region, :probe, CAST(:address AS inet))"
)
_MARK_DELETING = text(
    "UPDATE vps_servers SET status = 'deleting', status_reason = NULL WHERE tenant_id = :tenant AND id = :id"
)
_LOCK = text("SELECT status FROM vps_servers WHERE tenant_id = :tenant AND id = :id FOR UPDATE")
# Asked once the lock is held: an inbox that was being placed meanwhile is there now.
_INBOXES = text("SELECT count(*) FROM inboxes WHERE tenant_id = :tenant AND vps_id = :id")


def probe_password_place(vps_id: uuid.UUID) -> str:
    """Name the place that the probe mailbox's password is sealed for."""
    return f"vps_servers.probe_password:{vps_id}"


async def request_server(
    session: AsyncSession,
    *,
    tenant_id: uuid.UUID,
    workspace_id: uuid.UUID,
    provider: str,
    size: str,
    region: str,
    platform_domain: str,
    sealer: Sealer,
    hostname: str | None = None,
    ipv4_address: str | None = None,
) -> uuid.UUID:
    """Insert the server's row, start `vps.provision` for it, and return its id.

    It gets a name in the platform's domain when none is given. Its address is known here only when its provider is a
    person.
    """
    vps_id = uuid.uuid4()
    password = secrets.token_urlsafe(_PROBE_PASSWORD_BYTES).encode()
    row = {
        "id": vps_id,
        "tenant": tenant_id,
        "workspace": workspace_id,
        "provider": provider,
        "hostname": hostname or f"mx-{secrets.token_hex(_HOSTNAME_BYTES)}.{platform_domain}",
        "size": size,
        "region": region,
        "probe": sealer.seal(password, probe_password_place(vps_id)),
        "address": ipv4_address,
    }
    await session.execute(_INSERT_SERVER, row)
    await start_run(session, tenant_id, "vps.provision", vps_id)
    return vps_id


async def request_removal(session: AsyncSession, *, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> None:
    """Start `vps.decommission`; nothing happens when it was asked for before.

    Raises `NotFound` for a server that is not the tenant's and `Conflict` while it still has inboxes.
    """
    key = {"tenant": tenant_id, "id": vps_id}
    status = await session.scalar(_LOCK, key)
    if status is None:
        raise NotFound("there is no such server")
    if inboxes := await session.scalar(_INBOXES, key):
        raise Conflict(f"the server still has {inboxes} inboxes; delete them first")
    if status not in {"deleting", "deleted"}:
        await session.execute(_MARK_DELETING, key)
        await start_run(session, tenant_id, "vps.decommission", vps_id)
