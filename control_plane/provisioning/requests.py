"""Ask for a server, or for its removal: rows in the caller's transaction; the worker does the rest."""

import secrets
import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import tenant_keys
from control_plane.errors import Conflict, NotFound
from control_plane.inboxes.server_deeds import is_rebuilt, moving_domain
from control_plane.pipelines.runs import look_again, start_run
from control_plane.sealing import Sealer

_HOSTNAME_BYTES = 4
_PROBE_PASSWORD_BYTES = 24

_INSERT_SERVER = text(
    "INSERT INTO vps_servers (id, tenant_id, workspace_id, provider, hostname, size, region, probe_password_sealed,"
    "  ip_address, ipv6_address)"
    " VALUES (:id, :tenant, :workspace, :provider, :hostname, :size, :region, :probe, CAST(:address AS inet),"
    "  CAST(:ipv6_address AS inet))"
)
_MARK_DELETING = text(
    "UPDATE vps_servers SET status = 'deleting', status_reason = NULL WHERE tenant_id = :tenant AND id = :id"
)
_MARK_REMOVING = text(
    "UPDATE vps_servers SET draining_since = coalesce(draining_since, now()), removal_requested_at = now(),"
    " status_reason = NULL WHERE tenant_id = :tenant AND id = :id"
)
_FORCE = text("UPDATE vps_servers SET removal_forced = true WHERE tenant_id = :tenant AND id = :id")
_LOCK = text("SELECT status, removal_requested_at FROM vps_servers WHERE tenant_id = :tenant AND id = :id FOR UPDATE")
# Asked once the lock is held: an inbox that was being placed meanwhile is there now.
_INBOXES = text("SELECT email_address FROM inboxes WHERE tenant_id = :tenant AND vps_id = :id ORDER BY email_address")
_REMOVAL = text(
    "SELECT id FROM pipeline_runs WHERE tenant_id = :tenant AND subject_id = :id AND kind = 'vps.decommission'"
    " AND finished_at IS NULL"
)
# They are drained and withdrawn from DNS one by one, which needs the server.
_ADDRESSES = text(
    "SELECT count(*) FROM server_addresses WHERE tenant_id = :tenant AND vps_id = :id"
    " AND state NOT IN ('released', 'failed')"
)
#: Inboxes that a refusal names.
_NAMED = 10


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
    ipv6_address: str | None = None,
) -> uuid.UUID:
    """Insert the server's row, start `vps.provision` for it, and return its id.

    It gets a name in the platform's domain when none is given. Its addresses are known here only when its provider is a
    person.
    """
    vps_id = uuid.uuid4()
    password = secrets.token_urlsafe(_PROBE_PASSWORD_BYTES).encode()
    keys = await tenant_keys(session, sealer, tenant_id)
    row = {
        "id": vps_id,
        "tenant": tenant_id,
        "workspace": workspace_id,
        "provider": provider,
        "hostname": hostname or f"mx-{secrets.token_hex(_HOSTNAME_BYTES)}.{platform_domain}",
        "size": size,
        "region": region,
        "probe": keys.seal(password, probe_password_place(vps_id)),
        "address": ipv4_address,
        "ipv6_address": ipv6_address,
    }
    await session.execute(_INSERT_SERVER, row)
    await start_run(session, tenant_id, "vps.provision", vps_id)
    return vps_id


async def request_removal(
    session: AsyncSession, *, tenant_id: uuid.UUID, vps_id: uuid.UUID, force: bool = False
) -> None:
    """Start `vps.decommission`; nothing happens when it was asked for before.

    A server that is ready stays so until it is empty: with `force`, it goes at once, and what is in it is lost. Raises
    `NotFound` for a server that is not the tenant's and `Conflict` while it still has inboxes.
    """
    key = {"tenant": tenant_id, "id": vps_id}
    server = (await session.execute(_LOCK, key)).one_or_none()
    if server is None:
        raise NotFound("there is no such server")
    if inboxes := (await session.scalars(_INBOXES, key)).all():
        named = ", ".join(inboxes[:_NAMED]) + (", …" if len(inboxes) > _NAMED else "")
        raise Conflict(f"the server still has {len(inboxes)} inboxes; delete them first: {named}")
    if domain := await moving_domain(session, tenant_id, vps_id):
        raise Conflict(f"mail of {domain} moves to the server or away from it; remove it when that is over")
    if not force and (addresses := await session.scalar(_ADDRESSES, key)):
        raise Conflict(f"the server still has {addresses} further addresses; give them back first")
    if not force and await is_rebuilt(session, tenant_id, vps_id):
        raise Conflict("the server is being rebuilt; wait for that, or remove it by force")
    if force:
        await session.execute(_FORCE, key)
    if server.removal_requested_at is None and server.status not in {"deleting", "deleted"}:
        await session.execute(_MARK_REMOVING if server.status == "ready" else _MARK_DELETING, key)
        await start_run(session, tenant_id, "vps.decommission", vps_id)
    elif force and (run_id := await session.scalar(_REMOVAL, key)):
        await look_again(session, tenant_id, run_id)
