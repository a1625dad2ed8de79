"""A tenant's sends, newest first, by what is known of them.

A page is one walk along an index in falling order of ids, which begin with the time: of the inbox or the recipient
where one is given, or of a state that is rare, else of the workspace of a caller of one, or of the tenant. What else is
asked for is looked for in the rows on the way, and so many of them are walked for a page at most; one that ends there
has fewer messages than it may, and says where the next goes on.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from control_plane.inboxes.load import load_inbox
from control_plane.tenancy.scope import TenantScope
from db.ids import first_uuid7_of
from db.models import Message

#: Rows walked for one page.
MOST_WALKED = 10_000

#: The states of idx_messages_not_delivered.
_RARE = frozenset({"bounced", "expired", "failed", "cancelled", "suppressed", "uncertain", "dead"})

# All that is not deferred: the rest is large, or not for this role.
_SHOWN = [getattr(Message, column.key) for column in inspect(Message).column_attrs if not column.deferred]
_LIKE_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known of the messages; None for anything. `subject` is a part of it, in any case of letters."""

    inbox_id: uuid.UUID | None = None
    recipient: str | None = None
    state: str | None = None
    subject: str | None = None
    created_after: dt.datetime | None = None
    created_before: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and the id below which the next one goes on; None at the end."""

    messages: Sequence[Message]
    next: uuid.UUID | None


async def search_sends(
    session: AsyncSession, scope: TenantScope, wanted: Wanted, *, after: uuid.UUID | None, limit: int
) -> Found:
    """Return a page of the tenant's sends; raise `NotFound` for an inbox that there is not."""
    if wanted.inbox_id is not None:
        await load_inbox(session, scope, wanted.inbox_id)
    walked = aliased(Message, walk(select(*_SHOWN), scope, wanted, after).limit(MOST_WALKED).subquery())
    query = select(walked).order_by(walked.id.desc()).limit(limit)
    if wanted.state is not None:
        query = query.where(walked.state == wanted.state)
    if wanted.subject is not None:
        query = query.where(walked.subject.ilike(f"%{_literal(wanted.subject)}%", escape=_LIKE_ESCAPE))
    messages = (await session.scalars(query)).all()
    if len(messages) == limit:
        return Found(messages, messages[-1].id)
    last_walked = walk(select(Message.id), scope, wanted, after).offset(MOST_WALKED - 1).limit(1)
    return Found(messages, await session.scalar(last_walked))


def walk(query: Select[Any], scope: TenantScope, wanted: Wanted, after: uuid.UUID | None) -> Select[Any]:
    """Return `query` as the walk along the index that fits, from below `after`; the part of a subject is not in it."""
    query = query.where(Message.tenant_id == scope.tenant_id)
    if scope.single_workspace is not None:
        query = query.where(Message.workspace_id == scope.single_workspace)
    if wanted.state in _RARE:
        query = query.where(in_state(wanted.state))
    if wanted.recipient is not None:
        query = query.where(Message.recipient_folded == wanted.recipient.lower())
    if wanted.inbox_id is not None:
        query = query.where(Message.inbox_id == wanted.inbox_id)
    if wanted.created_after is not None:
        query = query.where(Message.id >= first_uuid7_of(wanted.created_after))
    if wanted.created_before is not None:
        query = query.where(Message.id < first_uuid7_of(wanted.created_before))
    if after is not None:
        query = query.where(Message.id < after)
    return query.order_by(Message.id.desc())


def in_state(state: str) -> ColumnElement[bool]:
    """Return the condition with the state written out: a partial index serves none that a plan does not know."""
    return Message.state == bindparam("state", state, literal_execute=True)


def _literal(part: str) -> str:
    """Return what LIKE takes as itself."""
    for special in (_LIKE_ESCAPE, "%", "_"):
        part = part.replace(special, _LIKE_ESCAPE + special)
    return part
