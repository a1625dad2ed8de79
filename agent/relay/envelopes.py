"""From a stream entry to an envelope that may be submitted, or the reason why not. Pure.

SECURITY: an envelope comes from our own queuer, and is not trusted all the same: its addresses become SMTP commands.
"""

import re
import uuid
from collections.abc import Mapping

from google.protobuf.message import DecodeError

from agent.journal import Refusal, SendState
from agent.relay.signing import header_fields, split_message
from protos.queue.v1.envelope_pb2 import Envelope

FIELD = b"e"
_UUID_BYTES = 16
_MOST_ADDRESS = 320
#: Printable ASCII without angle brackets: what may stand in MAIL FROM:<…> and RCPT TO:<…>.
_ADDRESS = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")


class NotAnEnvelope(ValueError):
    """The entry cannot be read, so it is not known which send it is."""


def read_entry(fields: Mapping[bytes, bytes]) -> Envelope:
    """Return the envelope in a stream entry.

    Raises:
        NotAnEnvelope: there is none, or it does not say which send, lease and deadline it is for.

    """
    if set(fields) != {FIELD}:
        raise NotAnEnvelope("it has other fields than an envelope")
    try:
        envelope = Envelope.FromString(fields[FIELD])
    except DecodeError as error:
        raise NotAnEnvelope("its bytes are no envelope") from error
    if len(envelope.send_id) != _UUID_BYTES or len(envelope.lease_token) != _UUID_BYTES:
        raise NotAnEnvelope("its send id or lease token is no UUID")
    if envelope.lease_deadline_ms <= 0:
        raise NotAnEnvelope("it has no deadline")
    if envelope.lease_number <= 0:
        raise NotAnEnvelope("it does not say which of its leases this is")
    return envelope


def refuse(envelope: Envelope) -> Refusal | None:
    """Return why this envelope must not be submitted, or None when it may."""
    reason = _fault(envelope)
    return Refusal(SendState.FAILED, reason) if reason else None


def terminated(message: bytes) -> bytes:
    """Return `message` as it will be transmitted: with a line end at its end."""
    return message if message.endswith(b"\r\n") else message + b"\r\n"


def _fault(envelope: Envelope) -> str | None:
    # The empty reverse-path is for reports, which are Postfix's own; a tenant's send always has a sender.
    for name, address in (("sender", envelope.envelope_sender), ("recipient", envelope.recipient)):
        if len(address) > _MOST_ADDRESS or not _ADDRESS.fullmatch(address):
            return f"The envelope's {name} is no address that SMTP can carry."
    if not envelope.signing_domain:
        return "The envelope names no signing domain."
    without_line_ends = envelope.message.replace(b"\r\n", b"")
    if b"\r" in without_line_ends or b"\n" in without_line_ends:
        return "The message has a line end that is not CRLF."
    if not envelope.message.isascii() or b"\0" in envelope.message:
        return "The message is not 7-bit clean."
    return _message_id_fault(envelope)


def _message_id_fault(envelope: Envelope) -> str | None:
    """Check the Message-ID: by it a send is found in Postfix's log after a crash."""
    head, _ = split_message(envelope.message)
    found = [value for name, value in header_fields(head) if name == b"message-id"]
    ours = f"<{uuid.UUID(bytes=envelope.send_id)}@".encode("ascii")
    if len(found) != 1 or not found[0].strip().startswith(ours):
        return "The message's Message-ID is not made from the send's id."
    return None
