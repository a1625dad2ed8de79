"""All that a tenant has on a data subject, in pages of sends; what else there is comes with the first."""

import base64
import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from control_plane.tenancy.scope import TenantScope
from db.models import Message, MessageEvent, Suppression, TenantEvent

#: Sends in a page: each comes with its whole message.
PAGE = 100


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """Something that happened to a send."""

    kind: str
    at: dt.datetime
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A send to the data subject, with its content (RFC 5322, in base64) and its timeline."""

    id: uuid.UUID
    state: str
    state_reason: str | None
    envelope_sender: str
    recipient: str
    subject: str
    content_base64: str
    accepted_at: dt.datetime
    final_at: dt.datetime | None
    timeline: list[HeldEvent]


@dataclass(frozen=True, slots=True)
class HeldTold:
    """An event that the tenant's webhooks were told of."""

    id: uuid.UUID
    type: str
    at: dt.datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldSuppression:
    """The data subject on the suppression list."""

    address: str
    reason: str
    source: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Held:
    """A page; `next` is the last send's id when there may be more."""

    address: str
    messages: list[HeldMessage]
    events: list[HeldTold]
    suppressions: list[HeldSuppression]
    next: uuid.UUID | None


async def export_data_subject(session: AsyncSession, scope: TenantScope, address: str, after: uuid.UUID | None) -> Held:
    """Return what the tenant has on an address, which is in lower case; sends after the one that `after` names."""
    sends = await _sends(session, scope, address, after)
    timelines = await _timelines(session, scope, [send.id for send in sends])
    return Held(
        address=address,
        messages=[_message(send, timelines.get(send.id, [])) for send in sends],
        events=[] if after else await _told(session, scope, address),
        suppressions=[] if after else await _suppressions(session, scope, address),
        next=sends[-1].id if len(sends) == PAGE else None,
    )


async def _sends(session: AsyncSession, scope: TenantScope, address: str, after: uuid.UUID | None) -> Sequence[Message]:
    query = select(Message).options(undefer(Message.payload))
    query = query.where(Message.tenant_id == scope.tenant_id, Message.recipient_folded == address)
    if after is not None:
        query = query.where(Message.id > after)
    return (await session.scalars(query.order_by(Message.id).limit(PAGE))).all()


async def _timelines(
    session: AsyncSession, scope: TenantScope, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, list[HeldEvent]]:
    query = select(MessageEvent).where(MessageEvent.tenant_id == scope.tenant_id, MessageEvent.message_id.in_(ids))
    found: dict[uuid.UUID, list[HeldEvent]] = {}
    for event in await session.scalars(query.order_by(MessageEvent.at, MessageEvent.recorded_at)):
        found.setdefault(event.message_id, []).append(HeldEvent(event.kind, event.at, event.detail))
    return found


async def _told(session: AsyncSession, scope: TenantScope, address: str) -> list[HeldTold]:
    recipient = func.lower(TenantEvent.data["recipient"].astext)
    query = select(TenantEvent).where(TenantEvent.tenant_id == scope.tenant_id, recipient == address)
    rows = await session.scalars(query.order_by(TenantEvent.position))
    return [HeldTold(row.id, row.type, row.at, row.data) for row in rows]


async def _suppressions(session: AsyncSession, scope: TenantScope, address: str) -> list[HeldSuppression]:
    query = select(Suppression).where(Suppression.tenant_id == scope.tenant_id, Suppression.address == address)
    return [
        HeldSuppression(row.address, row.reason, row.source, row.created_at) for row in await session.scalars(query)
    ]


def _message(send: Message, timeline: list[HeldEvent]) -> HeldMessage:
    return HeldMessage(
        id=send.id,
        state=send.state,
        state_reason=send.state_reason,
        envelope_sender=send.envelope_sender,
        recipient=send.recipient,
        subject=send.subject,
        content_base64=base64.b64encode(send.payload).decode(),
        accepted_at=send.accepted_at,
        final_at=send.final_at,
        timeline=timeline,
    )
