"""What a tenant asks for, and what it is told: values that the ways to send a message share."""

import datetime as dt
import uuid
from dataclasses import dataclass, field
from enum import IntEnum

from control_plane.messages.written import WrittenMessage


class Priority(IntEnum):
    """In which order sends of a server are taken: the values of `messages.priority`."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(frozen=True, slots=True)
class Addressees:
    """The fields To and Cc of a message to several: mailboxes with commas between them, or nothing."""

    to: str
    cc: str = ""


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
    #: What From calls the sender in place of the inbox's own name.
    from_name: str | None = None
    #: What the fields To and Cc say, when they say more than the recipient.
    addressees: Addressees | None = None
    #: A message that its sender wrote whole, in place of subject, texts, headers, name and addressees.
    written: WrittenMessage | None = field(default=None, repr=False)


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
