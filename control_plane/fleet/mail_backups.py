"""Where a tenant's mailboxes are backed up to: one place for all its servers, sealed with what opens it.

Servers have it in their desired state; without it nothing is backed up. The password encrypts the backups: whoever
loses it, and with the database this row, has none.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import open_sealed, tenant_keys
from control_plane.errors import InvalidInput, NotFound
from control_plane.sealing import Sealer
from mailstack.syntax import (
    InvalidSpec,
    require_backup_credential,
    require_backup_password,
    require_backup_repository,
)
from protos.agent.v1.configuration_pb2 import MailBackup

_IS_TENANT = text("SELECT count(*) FROM tenants WHERE id = :tenant AND state = 'active'")
_SET = text(
    "INSERT INTO mail_backup_targets (tenant_id, target_sealed) VALUES (:tenant, :sealed)"
    " ON CONFLICT (tenant_id) DO UPDATE SET target_sealed = excluded.target_sealed, set_at = now()"
)
_DROP = text("DELETE FROM mail_backup_targets WHERE tenant_id = :tenant")
_RAISE = text(
    "UPDATE vps_servers SET desired_version = desired_version + 1 WHERE tenant_id = :tenant AND status <> 'deleted'"
    " RETURNING id"
)
_NOTIFY = text("SELECT pg_notify('desired_state', CAST(:vps AS text))")
_OF_SERVER = text(
    "SELECT t.tenant_id, t.target_sealed FROM mail_backup_targets t"
    " JOIN vps_servers v ON v.tenant_id = t.tenant_id WHERE v.id = :vps"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A place that restic knows, the backups' password, and credentials by the names that restic reads."""

    repository: str = field(repr=False)
    password: str = field(repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        try:
            require_backup_repository(self.repository)
            require_backup_password(self.password)
            for name, value in self.credentials.items():
                require_backup_credential(name, value)
        except InvalidSpec as error:
            raise InvalidInput(str(error)) from None


async def set_target(session: AsyncSession, sealer: Sealer, tenant_id: uuid.UUID, target: Target) -> int:
    """Have all mailboxes of a tenant backed up there, and return of how many servers; system role.

    Raises `NotFound` for no tenant.
    """
    if not await session.scalar(_IS_TENANT, {"tenant": tenant_id}):
        raise NotFound(f"there is no tenant {tenant_id}")
    keys = await tenant_keys(session, sealer, tenant_id)
    sealed = keys.seal(json.dumps(asdict(target)).encode(), _place(tenant_id))
    await session.execute(_SET, {"tenant": tenant_id, "sealed": sealed})
    return await _tell_servers(session, tenant_id)


async def drop_target(session: AsyncSession, tenant_id: uuid.UUID) -> int:
    """Back nothing of a tenant up any more, and return of how many servers; what is there stays there. System role."""
    await session.execute(_DROP, {"tenant": tenant_id})
    return await _tell_servers(session, tenant_id)


async def mail_backup_of(session: AsyncSession, sealer: Sealer, vps_id: uuid.UUID) -> MailBackup | None:
    """Return what a server is to know; None where nothing is backed up. System role. Raises `SealBroken`."""
    row = (await session.execute(_OF_SERVER, {"vps": vps_id})).one_or_none()
    if row is None:
        return None
    target = json.loads(await open_sealed(session, sealer, bytes(row.target_sealed), _place(row.tenant_id)))
    return MailBackup(**target, server=str(vps_id))


async def _tell_servers(session: AsyncSession, tenant_id: uuid.UUID) -> int:
    servers = list(await session.scalars(_RAISE, {"tenant": tenant_id}))
    for vps_id in servers:
        await session.execute(_NOTIFY, {"vps": str(vps_id)})
    return len(servers)


def _place(tenant_id: uuid.UUID) -> str:
    return f"mail_backup_targets.target_sealed:{tenant_id}"
