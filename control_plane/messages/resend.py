"""Send an uncertain message again, because its tenant says so.

Nobody knows whether the first send reached anybody, and we never repeat one by ourselves (ARCHITECTURE.md,
invariant 3). A tenant who would rather risk a second copy than none gets a new send with an id of its own:

- An agent's journal never submits an id that it knows, which is what keeps us from sending twice; the same id would be
  settled as uncertain once more, and nothing would leave.
- The Message-ID is made from the id, so that a queue, a log or a late event about the first send cannot be taken for
  one about the second.

The message is the kept one but for its Message-ID and its Date. A send is sent again once: of two clicks the second
finds the first one's send. Who is still not sure sends that one again, when it is uncertain too.
"""

import uuid
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.messages.accept import insert_send
from control_plane.messages.compose import renamed
from control_plane.messages.insert import NewSend
from control_plane.messages.send_request import AcceptedSend, Idempotency, Priority
from control_plane.messages.sender import find_sender
from control_plane.tenancy.scope import TenantScope
from db.ids import uuid7
from db.session import driver_connection

# Locked, so that of two requests the second looks for the first one's send after it was committed.
_LOCK = text("""
SELECT inbox_id, state, priority, recipient, subject, payload
FROM messages
WHERE tenant_id = :tenant_id AND id = :id
FOR NO KEY UPDATE
""")
_RESENT_AS = text("SELECT id FROM messages WHERE tenant_id = :tenant_id AND resend_of = :id")


class _Kept(NamedTuple):
    """A row of _LOCK."""

    inbox_id: uuid.UUID | None
    state: str
    priority: int
    recipient: str
    subject: str
    payload: bytes


async def resend(
    session: AsyncSession, scope: TenantScope, message_id: uuid.UUID, idempotency: Idempotency | None = None
) -> AcceptedSend:
    """Insert a new send of an uncertain one's message, or return the one that the idempotency key stands for.

    Raises `NotFound`; `Conflict` when the send is not uncertain, was sent again before, or has no inbox that can send;
    `IdempotencyKeyReused`.
    """
    key = {"tenant_id": scope.tenant_id, "id": message_id}
    found: Any = (await session.execute(_LOCK, key)).one_or_none()
    if found is None:
        raise NotFound("There is no such message.")
    kept = _Kept(*found)
    if kept.inbox_id is None:
        raise Conflict("The message's inbox was removed; nothing can be sent from it.")
    connection = await driver_connection(session)
    sender = await find_sender(connection, scope, kept.inbox_id, idempotency)
    if repeated := sender.repeated(idempotency):
        return repeated
    if kept.state != "uncertain":
        raise Conflict(f"Only a message that is uncertain can be sent again; this one is {kept.state}.")
    if (resent_as := await session.scalar(_RESENT_AS, key)) is not None:
        raise Conflict(f"The message was sent again already, as {resent_as}.")
    if not kept.payload:
        raise Conflict("The message's content is not kept any more; it cannot be sent again.")
    sender.require_server()
    send_id = uuid7()
    payload = renamed(kept.payload, send_id, sender.domain, sender.now)
    send = NewSend(
        send_id, Priority(kept.priority), kept.recipient, kept.subject, payload, sender.now, resend_of=message_id
    )
    return await insert_send(connection, scope, sender, send, idempotency)
