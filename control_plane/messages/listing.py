"""An inbox's sends, newest first."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.inboxes.load import load_inbox
from control_plane.messages.search import in_state
from control_plane.tenancy.scope import TenantScope
from db.models import Message


async def list_sends(
    session: AsyncSession,
    scope: TenantScope,
    inbox_id: uuid.UUID,
    *,
    state: str | None,
    after: uuid.UUID | None,
    limit: int,
) -> Sequence[Message]:
    """Return a page of the inbox's sends in falling order of their ids, from the one below `after`; raise `NotFound`.

    Ids begin with the time, so this is one walk along `idx_messages_inbox`, without a sort. With a state, what is on
    the way of other states or, where the state is rare, of other inboxes is read and left out.
    """
    await load_inbox(session, scope, inbox_id)
    query = select(Message).where(Message.tenant_id == scope.tenant_id, Message.inbox_id == inbox_id)
    if state is not None:
        query = query.where(in_state(state))
    if after is not None:
        query = query.where(Message.id < after)
    return (await session.scalars(query.order_by(Message.id.desc()).limit(limit))).all()
