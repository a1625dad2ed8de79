"""Accept sends: check each, compose it, and insert all with their idempotency keys in the caller's transaction.

This is a hot path on psycopg, no ORM, and its round trips are shared by all sends that are accepted together. Whether a
send may leave (suppression, limits, tenant state) is judged when it is claimed, not here, since both can change in
between.
"""

import asyncio
import datetime as dt
import uuid
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from psycopg import AsyncConnection

from control_plane.errors import InvalidInput, PenguinError
from control_plane.inboxes.addresses import EmailAddress, parse_address
from control_plane.messages.compose import Draft, compose, compose_written, message_id
from control_plane.messages.insert import Entry, NewSend, insert_sends
from control_plane.messages.send_request import AcceptedSend, Idempotency, SendRequest
from control_plane.messages.sender import Asked, Sender, find_sender, find_senders, found_sender
from control_plane.tenancy.scope import TenantScope
from db.ids import uuid7

# Days ahead: a send that waits longer is more likely a wrong year than a wish.
_FURTHEST = dt.timedelta(days=366)

# Characters of text and html above which composing would hold up the event loop for some milliseconds.
_LARGE = 200_000


@dataclass(frozen=True, slots=True)
class WantedSend:
    """A send that a client wants accepted, and the key under which it may ask again."""

    inbox_id: uuid.UUID
    request: SendRequest
    idempotency: Idempotency | None = None

    @property
    def asked(self) -> Asked:
        """What `find_senders` looks for."""
        return self.inbox_id, self.idempotency.key if self.idempotency else None


async def accept_sends(
    connection: AsyncConnection[Any], scope: TenantScope, wanted: Sequence[WantedSend]
) -> list[AcceptedSend | PenguinError]:
    """Insert the sends that are right, and tell of each what became of it, in order.

    That is the send, or the one that its idempotency key stands for, or `NotFound` for an inbox that is not the
    tenant's, `Conflict` for one that is not ready, `IdempotencyKeyReused` when the key came with another request,
    `InvalidInput` or `TooLarge`.
    """
    found = await find_senders(connection, scope, (each.asked for each in wanted))
    if sum(len(each.request.text or "") + len(each.request.html or "") for each in wanted) < _LARGE:
        judged = _judge_all(found, wanted)
    else:
        judged = await asyncio.to_thread(_judge_all, found, wanted)
    entries = [each for each in judged if isinstance(each, Entry)]
    inserted = {entry.sends[0].id for entry in await insert_sends(connection, scope, entries)} if entries else set()
    if len(inserted) < len(entries):
        found = await find_senders(connection, scope, (each.asked for each in wanted))
    return [
        _outcome(each, found.get(asking.asked), inserted) if isinstance(each, Entry) else each
        for each, asking in zip(judged, wanted, strict=True)
    ]


def compose_send(sender: Sender, request: SendRequest, recipient: EmailAddress, send_id: uuid.UUID) -> NewSend:
    """Return the send with its message; raise `InvalidInput` and `TooLarge`."""
    send_at = _when(request.send_at, sender.now)
    payload, subject = _payload(sender, request, recipient, send_id, send_at)
    return NewSend(send_id, request.priority, str(recipient), subject, payload, send_at)


def _payload(
    sender: Sender, request: SendRequest, recipient: EmailAddress, send_id: uuid.UUID, send_at: dt.datetime
) -> tuple[bytes, str]:
    """Return the message and its subject."""
    if (written := request.written) is not None:
        return compose_written(written, send_id, sender.domain, send_at), written.subject
    draft = Draft(
        sender=EmailAddress(*sender.email_address.rsplit("@", 1)),
        display_name=(sender.display_name or "") if request.from_name is None else request.from_name,
        recipient=recipient,
        subject=request.subject,
        text=request.text,
        html=request.html,
        headers=request.headers,
        addressees=request.addressees,
    )
    return compose(draft, send_id, send_at), request.subject


def ordered_ids(count: int) -> list[uuid.UUID]:
    """Return new ids in their order: those of one millisecond are in none.

    The queue takes by id what is due at the same moment.
    """
    return sorted((uuid7() for _ in range(count)), key=attrgetter("int"))


async def insert_send(
    connection: AsyncConnection[Any],
    scope: TenantScope,
    sender: Sender,
    send: NewSend,
    idempotency: Idempotency | None,
) -> AcceptedSend:
    """Insert a composed send, or return the one that a request under the same key inserted meanwhile.

    Raises `Conflict` and `IdempotencyKeyReused`.
    """
    entry = _entry(sender, send, idempotency)
    if await insert_sends(connection, scope, [entry]):
        return _accepted(entry)
    return _taken(await find_sender(connection, scope, sender.inbox_id, idempotency), idempotency)


def _judge_all(
    found: Mapping[Asked, Sender], wanted: Sequence[WantedSend]
) -> list[Entry | AcceptedSend | PenguinError]:
    ids = ordered_ids(len(wanted))
    return [_judge(found.get(each.asked), each, send_id) for each, send_id in zip(wanted, ids, strict=True)]


def _judge(found: Sender | None, wanted: WantedSend, send_id: uuid.UUID) -> Entry | AcceptedSend | PenguinError:
    """Return what to insert, or what the request comes to without that."""
    try:
        recipient = parse_address(wanted.request.to, "/to")
        sender = found_sender(found)
        if repeated := sender.repeated(wanted.idempotency):
            return repeated
        sender.require_server()
        return _entry(sender, compose_send(sender, wanted.request, recipient, send_id), wanted.idempotency)
    except PenguinError as error:
        return error


def _outcome(entry: Entry, found: Sender | None, inserted: Set[uuid.UUID]) -> AcceptedSend | PenguinError:
    """Return the send if it went in, or else what kept it out, which the second look has found."""
    if entry.sends[0].id in inserted:
        return _accepted(entry)
    try:
        return _taken(found_sender(found), entry.idempotency)
    except PenguinError as error:
        return error


def _taken(present: Sender, idempotency: Idempotency | None) -> AcceptedSend:
    return present.repeated(idempotency) or present.refuse_changed()


def _entry(sender: Sender, send: NewSend, idempotency: Idempotency | None) -> Entry:
    return Entry(sender, (send,), idempotency, {"message_id": str(send.id)})


def _accepted(entry: Entry) -> AcceptedSend:
    (send,) = entry.sends
    # `accepted_at` is the transaction's time by default, and so is `now`.
    return AcceptedSend(send.id, message_id(send.id, entry.sender.domain), entry.sender.now, send.send_at)


def _when(wished: dt.datetime | None, now: dt.datetime) -> dt.datetime:
    """Return when to send; a moment that has passed means now, so that it cannot overtake what came before."""
    if wished is None or wished <= now:
        return now
    if wished - now > _FURTHEST:
        raise InvalidInput(f"A send may wait {_FURTHEST.days} days at most.", "/send_at")
    return wished.astimezone(now.tzinfo)
