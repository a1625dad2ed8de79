"""Accept a send: check it, compose it, and insert it with its idempotency key in the caller's transaction.

This is a hot path: two round trips on psycopg, no ORM. Whether the send may leave (suppression, limits, tenant state)
is judged when it is claimed, not here, since both can change in between.
"""

import asyncio
import datetime as dt
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from control_plane.errors import InvalidInput
from control_plane.inboxes.addresses import EmailAddress, parse_address
from control_plane.messages.compose import Draft, compose, message_id
from control_plane.messages.send_request import AcceptedSend, Idempotency, Priority, SendRequest
from control_plane.messages.sender import Sender, find_sender
from control_plane.tenancy.scope import TenantScope
from db.ids import uuid7

_INSERT_SEND = Path(__file__).with_name("insert_send.sql").read_text(encoding="utf-8")

# Days ahead: a send that waits longer is more likely a wrong year than a wish.
_FURTHEST = dt.timedelta(days=366)

# Characters of text and html above which composing would hold up the event loop for some milliseconds.
_LARGE = 200_000


@dataclass(frozen=True, slots=True)
class NewSend:
    """A send that is composed and goes into the table."""

    id: uuid.UUID
    priority: Priority
    recipient: str
    subject: str
    payload: bytes = field(repr=False)
    send_at: dt.datetime
    #: The uncertain send that it sends again, if any.
    resend_of: uuid.UUID | None = None


async def accept_send(
    connection: AsyncConnection[Any],
    scope: TenantScope,
    inbox_id: uuid.UUID,
    request: SendRequest,
    idempotency: Idempotency | None = None,
) -> AcceptedSend:
    """Insert the send and return it, or return the one that the idempotency key stands for.

    Raises `NotFound` for an inbox that is not the tenant's, `Conflict` for one that is not ready,
    `IdempotencyKeyReused` when the key came with another request, `InvalidInput` and `TooLarge`.
    """
    recipient = parse_address(request.to, "/to")
    sender = await find_sender(connection, scope, inbox_id, idempotency)
    if repeated := sender.repeated(idempotency):
        return repeated
    sender.require_server()
    if len(request.text or "") + len(request.html or "") < _LARGE:
        send = compose_send(sender, request, recipient, uuid7())
    else:
        send = await asyncio.to_thread(compose_send, sender, request, recipient, uuid7())
    return await insert_send(connection, scope, sender, send, idempotency)


def compose_send(sender: Sender, request: SendRequest, recipient: EmailAddress, send_id: uuid.UUID) -> NewSend:
    """Return the send with its message; raise `InvalidInput` and `TooLarge`."""
    send_at = _when(request.send_at, sender.now)
    draft = Draft(
        sender=EmailAddress(*sender.email_address.rsplit("@", 1)),
        display_name=sender.display_name or "",
        recipient=recipient,
        subject=request.subject,
        text=request.text,
        html=request.html,
        headers=request.headers,
    )
    payload = compose(draft, send_id, send_at)
    return NewSend(send_id, request.priority, str(recipient), request.subject, payload, send_at)


async def insert_send(
    connection: AsyncConnection[Any],
    scope: TenantScope,
    sender: Sender,
    send: NewSend,
    idempotency: Idempotency | None,
) -> AcceptedSend:
    """Insert a composed send, or return the one that a request under the same key inserted meanwhile.

    Raises `Conflict` and `IdempotencyKeyReused` as `accept_send` does.
    """
    row = {
        "tenant_id": scope.tenant_id,
        "id": send.id,
        "workspace_id": sender.workspace_id,
        "inbox_id": sender.inbox_id,
        "vps_id": sender.require_server(),
        "priority": send.priority.value,
        "envelope_sender": sender.email_address,
        "recipient": send.recipient,
        "signing_domain": sender.domain,
        "subject": send.subject,
        "payload": send.payload,
        "send_at": send.send_at,
        "resend_of": send.resend_of,
        "key": idempotency.key if idempotency else None,
        "request_sha256": idempotency.request_sha256 if idempotency else None,
    }
    inserted = await (await connection.execute(_INSERT_SEND, row)).fetchone()
    if inserted is not None:
        return AcceptedSend(send.id, message_id(send.id, sender.domain), inserted[0], inserted[1])
    present = await find_sender(connection, scope, sender.inbox_id, idempotency)
    return present.repeated(idempotency) or present.refuse_changed()


def _when(wished: dt.datetime | None, now: dt.datetime) -> dt.datetime:
    """Return when to send; a moment that has passed means now, so that it cannot overtake what came before."""
    if wished is None or wished <= now:
        return now
    if wished - now > _FURTHEST:
        raise InvalidInput(f"A send may wait {_FURTHEST.days} days at most.", "/send_at")
    return wished
