"""Compose the RFC 5322 message of a send: pure, and final but for its DKIM signature.

The bytes are 7-bit clean with CRLF line ends of at most 998 octets, so that no server on the way has a reason to
alter what was signed (RFC 6376, section 5.3). Message-ID is made from the send's id: after a crash it tells which send
a message in a queue or a log is.
"""

import datetime as dt
import re
import uuid
from dataclasses import dataclass, field
from email.utils import format_datetime
from functools import lru_cache

from control_plane.errors import InvalidInput, TooLarge
from control_plane.inboxes.addresses import EmailAddress
from control_plane.inboxes.header_text import check_header_text
from control_plane.messages import header_fields
from control_plane.messages.mime_body import alternatives, text_part
from control_plane.messages.send_request import Addressees
from control_plane.messages.written import WrittenMessage

#: Octets of a composed message. Postfix's own limit (10,240,000) leaves room for what is put in front on the way.
MAX_MESSAGE = 10_000_000

# Halves of surrogate pairs, which JSON can carry and UTF-8 cannot.
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Draft:
    """What a tenant wants to send, with the sender's and recipient's addresses already checked."""

    sender: EmailAddress
    display_name: str
    recipient: EmailAddress
    subject: str
    text: str | None = field(repr=False)
    html: str | None = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    addressees: Addressees | None = None


def message_id(send_id: uuid.UUID, sender_domain: str) -> str:
    """Return the Message-ID of a send, with its angle brackets."""
    return f"<{send_id}@{sender_domain}>"


def compose(draft: Draft, send_id: uuid.UUID, date: dt.datetime) -> bytes:
    """Return the message; `date` is aware.

    Raises `InvalidInput` for text or headers that a message cannot hold and `TooLarge` over `MAX_MESSAGE`.
    """
    head = "\r\n".join(
        [
            header_fields.mailbox("From", check_header_text(draft.display_name, "/display_name"), str(draft.sender)),
            *_addressee_fields(draft),
            header_fields.unstructured("Subject", check_header_text(draft.subject, "/subject")),
            _date_field(date, date.utcoffset()),
            f"Message-ID: {message_id(send_id, draft.sender.domain)}",
            *_custom_fields(draft.headers),
            "MIME-Version: 1.0",
            "",
        ]
    )
    return _bounded(head.encode("ascii") + _body(draft, send_id))


def compose_written(written: WrittenMessage, send_id: uuid.UUID, sender_domain: str, date: dt.datetime) -> bytes:
    """Return a message that its sender wrote, with the date and the Message-ID that are ours to write.

    Raises `TooLarge` over `MAX_MESSAGE`.
    """
    ours = f"{_date_field(date, date.utcoffset())}\r\nMessage-ID: {message_id(send_id, sender_domain)}\r\n"
    return _bounded(ours.encode("ascii") + written.head + b"\r\n" + written.body)


def renamed(message: bytes, send_id: uuid.UUID, sender_domain: str, date: dt.datetime) -> bytes:
    """Return a composed message with another send's Message-ID and another date, and else the same bytes."""
    head, separator, body = message.partition(b"\r\n\r\n")
    lines = [_renamed_line(line, send_id, sender_domain, date) for line in head.split(b"\r\n")]
    return b"\r\n".join(lines) + separator + body


def _renamed_line(line: bytes, send_id: uuid.UUID, sender_domain: str, date: dt.datetime) -> bytes:
    # `compose` writes both fields on one line each, and lets nobody else write them.
    if line.startswith(b"Date: "):
        return _date_field(date, date.utcoffset()).encode("ascii")
    if line.startswith(b"Message-ID: "):
        return f"Message-ID: {message_id(send_id, sender_domain)}".encode("ascii")
    return line


def _bounded(message: bytes) -> bytes:
    if len(message) > MAX_MESSAGE:
        raise TooLarge(f"The message would be {len(message)} octets long; {MAX_MESSAGE} are allowed.")
    return message


def _addressee_fields(draft: Draft) -> list[str]:
    if draft.addressees is None:
        return [header_fields.mailbox("To", "", str(draft.recipient))]
    to, cc = draft.addressees.to, draft.addressees.cc
    # A message must name somebody it is for (RFC 5321, appendix B, calls the group by this name).
    fields = [header_fields.mailboxes("To", to, "/to") if to else "To: undisclosed-recipients:;"]
    return [*fields, header_fields.mailboxes("Cc", cc, "/cc")] if cc else fields


# Sends that are accepted together have one date. Moments are equal whatever their offsets, their texts are not.
@lru_cache(maxsize=64)
def _date_field(date: dt.datetime, _offset: dt.timedelta | None) -> str:
    return f"Date: {format_datetime(date)}"


def _custom_fields(headers: tuple[tuple[str, str], ...]) -> list[str]:
    seen: set[str] = set()
    fields = []
    for name, value in headers:
        pointer = f"/headers/{name.replace('~', '~0').replace('/', '~1')}"
        if name.lower() in seen:
            raise InvalidInput("A header may be set once.", pointer)
        seen.add(name.lower())
        fields.append(header_fields.custom(name, value, pointer))
    return fields


def _body(draft: Draft, send_id: uuid.UUID) -> bytes:
    """Return the MIME entity: one text, or both as alternatives."""
    parts = [
        text_part(_normalise(text, f"/{name}"), subtype)
        for name, subtype, text in (("text", "plain", draft.text), ("html", "html", draft.html))
        if text is not None
    ]
    if not parts:
        raise InvalidInput("A message needs text, html or both.", "/text")
    # "=_" cannot be in quoted-printable, and nobody knows the id before the message is written (RFC 2045, 6.7).
    return parts[0] if len(parts) == 1 else alternatives(parts, f"=_{send_id.hex}")


def _normalise(text: str, pointer: str) -> str:
    """Return the text with LF line ends, which are written as CRLF.

    In JSON a line ends with LF as a rule, or with CRLF: both are meant as line ends, so both become CRLF, and a bare
    LF can never reach a server. A bare CR or a NUL is no line end to anybody, and servers that take it for one are
    how messages are smuggled into each other (CVE-2023-51764): it is refused.
    """
    # Single characters are found at once where they are not; a pair or a set of them takes ten times as long.
    unified = text.replace("\r\n", "\n") if "\r" in text else text
    if "\r" in unified or "\0" in unified or (not unified.isascii() and _HALVES.search(unified)):
        raise InvalidInput("The body has a carriage return without a line feed, a NUL, or half a character.", pointer)
    return unified
