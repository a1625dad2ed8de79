"""One send's state and the whole story of how it came to it, from its row and its events."""

import datetime as dt
import uuid
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.tenancy.scope import TenantScope
from db.models import Message, MessageEvent


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a send, by the clock of whoever saw it.

    `applied` is false for what came too late to change anything. `detail` holds what the event has of queue_id, relay,
    enhanced_status, text, delay_seconds, detail; of a send that was sent again, the other send's id.
    """

    kind: str
    at: dt.datetime
    applied: bool
    detail: dict[str, Any]


async def load_send(
    session: AsyncSession, scope: TenantScope, message_id: uuid.UUID
) -> tuple[Message, tuple[Moment, ...]]:
    """Return a send and its timeline; raise `NotFound` when the tenant has none of that id."""
    message = await session.scalar(
        select(Message).where(Message.tenant_id == scope.tenant_id, Message.id == message_id)
    )
    if message is None:
        raise NotFound("There is no such message.")
    events = await session.scalars(
        select(MessageEvent)
        .where(MessageEvent.tenant_id == scope.tenant_id, MessageEvent.message_id == message_id)
        .order_by(MessageEvent.at, MessageEvent.recorded_at)
    )
    resent = await session.scalar(
        select(Message).where(Message.tenant_id == scope.tenant_id, Message.resend_of == message_id)
    )
    return message, timeline(message, tuple(events), resent)


def timeline(message: Message, events: tuple[MessageEvent, ...], resent: Message | None = None) -> tuple[Moment, ...]:
    """Return the moments of a send in order: accepted first, and the rest by time.

    `resent` is the send by which an uncertain one was sent again; each of the two tells of the other.
    """
    moments = [Moment(event.kind, event.at, event.applied, event.detail) for event in events]
    if message.queued_at is not None:
        moments.insert(0, Moment("queued", message.queued_at, applied=True, detail={}))
    if resent is not None:
        moments.append(Moment("resent", resent.accepted_at, applied=True, detail={"message_id": str(resent.id)}))
    # A stable sort: of what happened in the same millisecond, the row's own moments come first.
    origin = {"resend_of": str(message.resend_of)} if message.resend_of else {}
    return (
        Moment("accepted", message.accepted_at, applied=True, detail=origin),
        *sorted(moments, key=attrgetter("at")),
    )
