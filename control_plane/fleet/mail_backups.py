"""Where a tenant's mailboxes are backed up to: one place for all its servers, sealed with what opens it.

Servers have it in their desired state; without it nothing is backed up. The password encrypts the backups: whoever
loses it, and with the database this row, has none. It is shown once, when it was made here, and never again.
"""

import datetime as dt
import json
import re
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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

_NONE = "The tenant's mailboxes are not backed up."
_PASSWORD_BYTES = 32
_USER = re.compile("//[^/]*@")

_IS_TENANT = text("SELECT count(*) FROM tenants WHERE id = :tenant AND state = 'active'")
# Parameters instead of what is excluded, which the tenants' role may not read.
_SET = text(
    "INSERT INTO mail_backup_targets (tenant_id, target_sealed, place, credentials)"
    " VALUES (:tenant, :sealed, :place, :credentials) ON CONFLICT (tenant_id) DO UPDATE SET target_sealed = :sealed,"
    " place = :place, credentials = :credentials, set_at = now(), removed_at = NULL"
)
_DROP = text(
    "UPDATE mail_backup_targets SET target_sealed = NULL, place = NULL, credentials = '{}', removed_at = now()"
    " WHERE tenant_id = :tenant AND removed_at IS NULL RETURNING tenant_id"
)
_SHOW = text(
    "SELECT place, credentials, set_at FROM mail_backup_targets WHERE tenant_id = :tenant AND removed_at IS NULL"
)
_RAISE = text(
    "UPDATE vps_servers SET desired_version = desired_version + 1 WHERE tenant_id = :tenant AND status <> 'deleted'"
    " RETURNING id"
)
_NOTIFY = text("SELECT pg_notify('desired_state', CAST(:vps AS text))")
_OF_SERVER = text(
    "SELECT t.tenant_id, t.target_sealed FROM mail_backup_targets t"
    " JOIN vps_servers v ON v.tenant_id = t.tenant_id WHERE v.id = :vps AND t.removed_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A place that restic knows, the backups' password, and credentials by the names that restic reads."""

    repository: str = field(repr=False)
    password: str = field(repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        with _naming("/repository"):
            require_backup_repository(self.repository)
        with _naming("/password"):
            require_backup_password(self.password)
        with _naming("/credentials"):
            for name, value in self.credentials.items():
                require_backup_credential(name, value)


@dataclass(frozen=True, slots=True)
class WantedTarget:
    """A place as somebody names it. Whoever wants to go on with backups that are there gives the password of those."""

    repository: str = field(repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: None for a new one.
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TargetSet:
    """Of how many servers it is the place, and the password where it was made here: this once."""

    servers: int
    new_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ShownTarget:
    """What may be seen of a place: not who logs in there, and of credentials the names."""

    #: None of one that was set before it could be shown.
    repository: str | None
    credentials: Sequence[str]
    set_at: dt.datetime


async def set_target(session: AsyncSession, sealer: Sealer, tenant_id: uuid.UUID, wanted: WantedTarget) -> TargetSet:
    """Have all mailboxes of a tenant backed up there. Raises `InvalidInput`, and `NotFound` for no tenant."""
    if not await session.scalar(_IS_TENANT, {"tenant": tenant_id}):
        raise NotFound(f"there is no tenant {tenant_id}")
    new_password = secrets.token_urlsafe(_PASSWORD_BYTES) if wanted.password is None else None
    target = Target(wanted.repository, new_password or wanted.password or "", wanted.credentials)
    keys = await tenant_keys(session, sealer, tenant_id)
    row = {
        "tenant": tenant_id,
        "sealed": keys.seal(json.dumps(asdict(target)).encode(), _place(tenant_id)),
        "place": without_user(target.repository),
        "credentials": sorted(target.credentials),
    }
    await session.execute(_SET, row)
    return TargetSet(await _tell_servers(session, tenant_id), new_password)


async def drop_target(session: AsyncSession, tenant_id: uuid.UUID) -> int:
    """Back nothing of a tenant up any more, and return of how many servers; what is there stays there.

    Raises `NotFound` where nothing is backed up.
    """
    if await session.scalar(_DROP, {"tenant": tenant_id}) is None:
        raise NotFound(_NONE)
    return await _tell_servers(session, tenant_id)


async def show_target(session: AsyncSession, tenant_id: uuid.UUID) -> ShownTarget:
    """Return what may be seen of a tenant's place; raise `NotFound` where there is none."""
    row = (await session.execute(_SHOW, {"tenant": tenant_id})).one_or_none()
    if row is None:
        raise NotFound(_NONE)
    return ShownTarget(row.place, row.credentials, row.set_at)


@contextmanager
def _naming(part: str) -> Iterator[None]:
    """Say of a value that no server would take which part of the request it is."""
    try:
        yield
    except InvalidSpec as error:
        raise InvalidInput(f"{error}.", part) from None


def without_user(repository: str) -> str:
    """Return a place as it may be shown. Pure."""
    return _USER.sub("//", repository)


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
