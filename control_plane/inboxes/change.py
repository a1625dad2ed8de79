"""Change and remove a tenant's inboxes."""

import uuid
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.inboxes.load import load_inbox
from control_plane.inboxes.moves import is_moving
from control_plane.pipelines.runs import start_run
from control_plane.tenancy.scope import TenantScope
from db.models import Inbox

_NOW = select(func.now())


async def change_inbox(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, changes: Mapping[str, str | int | bool | None]
) -> Inbox:
    """Set the given columns; raise `NotFound`, or `Conflict` when the inbox is being removed."""
    inbox = await load_inbox(session, scope, inbox_id, lock=True)
    if inbox.status == "deleting":
        raise Conflict("The inbox is being removed.")
    for name, value in changes.items():
        setattr(inbox, name, value)
    inbox.updated_at = (await session.execute(_NOW)).scalar_one()
    await session.flush()
    return inbox


async def begin_removal(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID) -> Inbox:
    """Mark the inbox and start `inbox.remove`; nothing happens when that was done before.

    Raises `NotFound`, and `Conflict` while the inbox moves to another server.
    """
    inbox = await load_inbox(session, scope, inbox_id, lock=True)
    if inbox.status != "deleting":
        if await is_moving(session, scope, inbox_id):
            raise Conflict("The inbox moves to another server; it can be removed when it has arrived.")
        inbox.status = "deleting"
        inbox.status_reason = None
        inbox.updated_at = (await session.execute(_NOW)).scalar_one()
        await session.flush()
        await start_run(session, scope.tenant_id, "inbox.remove", inbox_id)
    return inbox
