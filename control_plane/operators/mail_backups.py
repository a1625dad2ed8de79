"""What operators do about backups of mailboxes, each act recorded with it: both doors come through here."""

import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet import mail_backups
from control_plane.fleet.mail_backups import TargetSet, WantedTarget
from control_plane.operators.acts import Act, Actor, record
from control_plane.sealing import Sealer


async def set_target(
    session: AsyncSession,
    actor: Actor,
    sealer: Sealer,
    tenant_id: uuid.UUID,
    wanted: WantedTarget,
    *,
    reason: str | None = None,
) -> TargetSet:
    """Say where a tenant's mailboxes go; see `mail_backups.set_target`."""
    done = await mail_backups.set_target(session, sealer, tenant_id, wanted)
    await _record(session, actor, tenant_id, reason, backed_up=True)
    return done


async def drop_target(session: AsyncSession, actor: Actor, tenant_id: uuid.UUID, reason: str | None = None) -> int:
    """Back nothing of a tenant up any more; see `mail_backups.drop_target`."""
    servers = await mail_backups.drop_target(session, tenant_id)
    await _record(session, actor, tenant_id, reason, backed_up=False)
    return servers


async def _record(
    session: AsyncSession, actor: Actor, tenant_id: uuid.UUID, reason: str | None, *, backed_up: bool
) -> None:
    await record(session, actor, Act.MAIL_BACKUPS, {"tenant_id": tenant_id, "backed_up": backed_up}, reason)
