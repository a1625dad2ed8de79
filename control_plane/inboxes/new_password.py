"""Give an inbox another password; its server has it a moment later, and the one before opens nothing from then on."""

import asyncio
import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.fleet.desired import raise_desired_version
from control_plane.inboxes.load import load_inbox
from control_plane.inboxes.passwords import dovecot_hash
from control_plane.tenancy.scope import TenantScope

_CHANGE = text("UPDATE inboxes SET password_hash = :hash, updated_at = now() WHERE tenant_id = :tenant_id AND id = :id")


async def change_password(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, password: str) -> None:
    """Keep the password's hash and have the server apply it.

    Raises `NotFound`, and `Conflict` when the inbox is being removed.
    """
    inbox = await load_inbox(session, scope, inbox_id, lock=True)
    if inbox.status == "deleting":
        raise Conflict("The inbox is being removed.")
    hashed = await asyncio.to_thread(dovecot_hash, password)
    await session.execute(_CHANGE, {"hash": hashed, "tenant_id": scope.tenant_id, "id": inbox_id})
    if inbox.vps_id is not None:
        await raise_desired_version(session, inbox.vps_id)
