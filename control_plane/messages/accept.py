"""Accept a send: check it, compose it, and insert it with its idempotency key in the caller's transaction.

This is a hot path: two round trips on psycopg, no ORM. Whether the send may leave (suppression, limits, tenant state)
is judged when it is claimed, not here, since both can change in between.
"""

import asyncio
import datetime as dt
import uuid
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from psycopg.rows import namedtuple_row
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, IdempotencyKeyReused, InvalidInput, NotFound
from control_plane.inboxes.addresses import EmailAddress, parse_address
from control_plane.messages.compose import Draft, compose, message_id
from control_plane.tenancy.scope import TenantScope
from db.ids import uuid7
from db.session import driver_connection


def _sql(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


_FIND_SENDER = _sql("find_sender.sql")
_INSERT_SEND = _sql("insert_send.sql")

# Days ahead: a send that waits longer is more likely a wrong year than a wish.
_FURTHEST = dt.timedelta(days=366)

# Characters of text and html above which composing would hold up the event loop for some milliseconds.
_LARGE = 200_000


class Priority(IntEnum):
    """In which order sends of a server are taken: the values of `messages.priority`."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A send as a tenant asks for it; nothing in it is checked yet. `send_at` is aware, or None for now."""

    to: str
    subject: str
    text: str | None = field(default=None, repr=False)
    html: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    priority: Priority = Priority.NORMAL
    send_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for a request, and the SHA-256 of the request (method, path and body)."""

    key: str
    request_sha256: bytes


@dataclass(frozen=True, slots=True)
class AcceptedSend:
    """What a client is told of a send; the same again when the request is repeated under its key."""

    id: uuid.UUID
    message_id: str
    accepted_at: dt.datetime
    send_at: dt.datetime


class _Sender(NamedTuple):
    """A row of find_sender.sql."""

    workspace_id: uuid.UUID
    vps_id: uuid.UUID | None
    email_address: str
    display_name: str | None
    status: str
    now: dt.datetime
    request_sha256: bytes | None
    message_id: uuid.UUID | None
    accepted_at: dt.datetime | None
    send_at: dt.datetime | None

    @property
    def domain(self) -> str:
        return self.email_address.rpartition("@")[2]


async def accept_send(
    session: AsyncSession,
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
    sender = await _find_sender(session, scope, inbox_id, idempotency)
    if repeated := _repeated(sender, idempotency):
        return repeated
    vps_id = _server_of(sender)
    send_id = uuid7()
    send_at = _when(request.send_at, sender.now)
    draft = _draft(sender, recipient, request)
    row = {
        "tenant_id": scope.tenant_id,
        "id": send_id,
        "workspace_id": sender.workspace_id,
        "inbox_id": inbox_id,
        "vps_id": vps_id,
        "priority": request.priority.value,
        "envelope_sender": sender.email_address,
        "recipient": str(recipient),
        "signing_domain": sender.domain,
        "subject": request.subject,
        "payload": await _compose(draft, send_id, send_at),
        "send_at": send_at,
        "key": idempotency.key if idempotency else None,
        "request_sha256": idempotency.request_sha256 if idempotency else None,
    }
    inserted = await (await (await driver_connection(session)).execute(_INSERT_SEND, row)).fetchone()
    if inserted is not None:
        return AcceptedSend(send_id, message_id(send_id, sender.domain), inserted[0], inserted[1])
    return await _accepted_meanwhile(session, scope, inbox_id, idempotency)


async def _find_sender(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, idempotency: Idempotency | None
) -> _Sender:
    cursor = (await driver_connection(session)).cursor(row_factory=namedtuple_row)
    parameters = {"tenant_id": scope.tenant_id, "inbox_id": inbox_id, "key": idempotency.key if idempotency else None}
    found: Any = await (await cursor.execute(_FIND_SENDER, parameters)).fetchone()
    if found is None:
        raise NotFound("There is no such inbox.")
    return _Sender(*found)


def _repeated(sender: _Sender, idempotency: Idempotency | None) -> AcceptedSend | None:
    """Return the send that the same request made before, if it did."""
    if idempotency is None or sender.message_id is None or sender.accepted_at is None or sender.send_at is None:
        return None
    if sender.request_sha256 != idempotency.request_sha256:
        raise IdempotencyKeyReused("The idempotency key was used for another request; choose a new one.")
    return AcceptedSend(
        sender.message_id, message_id(sender.message_id, sender.domain), sender.accepted_at, sender.send_at
    )


async def _accepted_meanwhile(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, idempotency: Idempotency | None
) -> AcceptedSend:
    """Return the send of a request with the same key that was committed while this one ran, or say what changed."""
    sender = await _find_sender(session, scope, inbox_id, idempotency)
    repeated = _repeated(sender, idempotency)
    if repeated is None:
        _server_of(sender)
        raise Conflict("The inbox changed meanwhile; try again.")
    return repeated


def _server_of(sender: _Sender) -> uuid.UUID:
    if sender.status != "ready" or sender.vps_id is None:
        raise Conflict(f"The inbox cannot send yet or no longer: its status is {sender.status}.")
    return sender.vps_id


def _when(wished: dt.datetime | None, now: dt.datetime) -> dt.datetime:
    """Return when to send; a moment that has passed means now, so that it cannot overtake what came before."""
    if wished is None or wished <= now:
        return now
    if wished - now > _FURTHEST:
        raise InvalidInput(f"A send may wait {_FURTHEST.days} days at most.", "/send_at")
    return wished


def _draft(sender: _Sender, recipient: EmailAddress, request: SendRequest) -> Draft:
    return Draft(
        sender=EmailAddress(*sender.email_address.rsplit("@", 1)),
        display_name=sender.display_name or "",
        recipient=recipient,
        subject=request.subject,
        text=request.text,
        html=request.html,
        headers=request.headers,
    )


async def _compose(draft: Draft, send_id: uuid.UUID, date: dt.datetime) -> bytes:
    if len(draft.text or "") + len(draft.html or "") < _LARGE:
        return compose(draft, send_id, date)
    return await asyncio.to_thread(compose, draft, send_id, date)
