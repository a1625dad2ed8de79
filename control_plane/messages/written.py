"""A message that its sender wrote whole (RFC 5322), as SMTP and SES's raw content bring it: pure.

What says where a message has been, who signed it, or who is not to be seen in it is left out; Date and Message-ID are
ours, for a resend changes them and a queue is searched by them. All else stays as it was written, if it holds to what
our own messages hold to: 7-bit, CRLF, lines of at most 998 octets. Text of eight bits is put into an encoding.
"""

import email
import re
from dataclasses import dataclass, field
from email.generator import BytesGenerator
from email.header import decode_header, make_header
from email.policy import compat32
from io import BytesIO

from control_plane.errors import InvalidInput
from control_plane.inboxes.addresses import EmailAddress
from control_plane.messages.header_fields import ALLOWED_FIELDS, ALLOWED_PREFIXES, MAX_LINE, read_mailbox

#: What is kept beside what a tenant may set in any message.
KEPT_FIELDS = ALLOWED_FIELDS | {
    *("from", "to", "cc", "subject", "mime-version", "auto-submitted", "precedence", "importance", "priority"),
    *("organization", "user-agent", "comments", "keywords", "feedback-id", "thread-topic", "thread-index"),
    *("content-type", "content-transfer-encoding", "content-language", "content-disposition", "content-id"),
}
#: RFC 5322, section 3.6, and RFC 2045: fields that a message has once at most.
_ONCE = frozenset(
    {
        *("from", "sender", "to", "cc", "bcc", "subject", "reply-to", "date", "message-id", "in-reply-to"),
        *("references", "mime-version", "content-type", "content-transfer-encoding"),
    }
)
#: Octets of a header: addressees of a thousand messages, and no more than is soon looked through.
_MAX_HEAD = 262_144
#: Characters of a subject that are kept for people to find the message by, and those that are decoded for it: of what
#: only looks like encoded words, twice as many take four times as long.
_SUBJECT, _SUBJECT_WRITTEN = 998, 4000

# A line that begins with white space goes on with the one before (RFC 5322, section 2.2.3).
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_NAME = re.compile(rb"[!-9;-~]+")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_SUBJECT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_CONTAINER = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
#: Multiparts and messages within a message whose text is to be encoded: for each that a line lies in, the parser looks
#: at the line again, and some hundreds are more than it can go down into.
_MOST_CONTAINERS = 20
_NO_CHARSET = "A part of the message has eight bits and names no charset that they are in; encode it."


class UnencodedHeader(InvalidInput):
    """The header has text that is not ASCII."""


@dataclass(frozen=True, slots=True)
class WrittenMessage:
    """A message that may be sent; `head` ends with CRLF and lacks Date, Message-ID and the empty line."""

    sender: EmailAddress
    subject: str
    #: As its sender named it, for telling a repetition; None when it had none.
    message_id: str | None
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)


def read_written(data: bytes) -> WrittenMessage:
    """Take a message apart; raise `InvalidInput` for one that cannot be sent. Megabytes take some milliseconds."""
    bare = data.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare or b"\0" in bare:
        raise InvalidInput("The message has a CR or LF that is no line's end, or a NUL.")
    head = data.partition(b"\r\n\r\n")[0]
    if len(head) > _MAX_HEAD:
        raise InvalidInput(f"The message's header has {len(head)} octets; {_MAX_HEAD} are allowed.")
    if not head.isascii():
        raise UnencodedHeader("The message's header is not ASCII; encode it as RFC 2047 says.")
    head, _, body = (data if data.isascii() else _seven_bit(data)).partition(b"\r\n\r\n")
    if max(map(len, (*head.split(b"\r\n"), *body.split(b"\r\n")))) > MAX_LINE:
        raise InvalidInput(f"A line of the message is longer than {MAX_LINE} octets.")
    fields = _fields(head)
    return WrittenMessage(
        sender=_sender(fields),
        subject=_subject(_value(fields, "subject") or ""),
        message_id=_value(fields, "message-id"),
        head=b"".join(raw + b"\r\n" for name, raw in fields if _is_kept(name)),
        body=body,
    )


def _is_kept(name: str) -> bool:
    return name in KEPT_FIELDS or name.startswith(ALLOWED_PREFIXES)


def _fields(head: bytes) -> list[tuple[str, bytes]]:
    """Return each field by its name in lower case, as it was written; raise `InvalidInput`."""
    fields: list[tuple[str, bytes]] = []
    for raw in _FIELD_END.split(head):
        if _NO_TEXT.search(raw.replace(b"\r\n", b"")):
            raise InvalidInput("The message's header has control characters.")
        written, colon, _ = raw.partition(b":")
        if not colon or not _NAME.fullmatch(written):
            raise InvalidInput("The message has no header, or a line in it that is no field.")
        fields.append((written.decode().lower(), raw))
    for name in _ONCE:
        if sum(each == name for each, _ in fields) > 1:
            raise InvalidInput(f"The message has the field {name.title()} more than once.")
    return fields


def _value(fields: list[tuple[str, bytes]], wanted: str) -> str | None:
    """Return the unfolded value of a field that there is once at most."""
    for name, raw in fields:
        if name == wanted:
            return raw.partition(b":")[2].replace(b"\r\n", b"").decode().strip(" \t")
    return None


def _sender(fields: list[tuple[str, bytes]]) -> EmailAddress:
    value = _value(fields, "from")
    if value is None:
        raise InvalidInput("The message has no field From.", "/from")
    return read_mailbox(value, "/from")[1]


def _subject(value: str) -> str:
    """Return a subject as people read it; of what cannot be decoded, as it is."""
    try:
        text = str(make_header(decode_header(value[:_SUBJECT_WRITTEN])))
    except (LookupError, ValueError):  # an unknown charset, or what is not in it
        text = value
    return _NO_SUBJECT.sub(" ", text)[:_SUBJECT]


def _seven_bit(data: bytes) -> bytes:
    """Return the message with its text of eight bits encoded; raise `InvalidInput` when no charset says what it is."""
    if len(_CONTAINER.findall(data)) > _MOST_CONTAINERS:
        raise InvalidInput(f"A message of eight bits may have {_MOST_CONTAINERS} parts that have parts; encode it.")
    written = BytesIO()
    policy = compat32.clone(cte_type="7bit", linesep="\r\n", max_line_length=None)
    try:
        BytesGenerator(written, mangle_from_=False, policy=policy).flatten(email.message_from_bytes(data))
    except (LookupError, ValueError):  # an unknown charset, or what is not in it
        raise InvalidInput(_NO_CHARSET) from None
    if not written.getvalue().isascii():
        raise InvalidInput(_NO_CHARSET)
    return written.getvalue()
