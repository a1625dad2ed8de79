"""An event as an agent sent it, checked: what cannot be kept or understood is refused here."""

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from control_plane.delivery.states import Kind
from control_plane.errors import InvalidInput
from protos.agent.v1.delivery_pb2 import DeliveryEvent

_KINDS: Mapping[int, Kind] = MappingProxyType(
    {
        DeliveryEvent.KIND_RELAYED: Kind.RELAYED,
        DeliveryEvent.KIND_DELIVERED: Kind.DELIVERED,
        DeliveryEvent.KIND_DEFERRED: Kind.DEFERRED,
        DeliveryEvent.KIND_BOUNCED: Kind.BOUNCED,
        DeliveryEvent.KIND_EXPIRED: Kind.EXPIRED,
        DeliveryEvent.KIND_LEASE_EXPIRED: Kind.LEASE_EXPIRED,
        DeliveryEvent.KIND_FAILED: Kind.FAILED,
        DeliveryEvent.KIND_UNCERTAIN: Kind.UNCERTAIN,
    }
)
#: A reply of many lines says what it says in its first; the column of queue ids is this wide.
_LONGEST_TEXT = 2000
_LONGEST_QUEUE_ID = 64


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one send, under which lease, by the clock of the server that saw it."""

    id: uuid.UUID
    send_id: uuid.UUID
    lease_token: uuid.UUID
    at: datetime
    kind: Kind
    queue_id: str | None = None
    #: The remote reply, or the agent's own sentence.
    reason: str | None = None
    #: RFC 3463 code of the remote reply, if there is one.
    enhanced_status: str = ""
    #: JSON object for `message_events.detail`.
    detail: str = "{}"


def read_event(message: DeliveryEvent) -> Event:
    """Return the event; raise `InvalidInput` when it is malformed or of a kind this control plane does not know."""
    kind = _KINDS.get(message.kind)
    if kind is None:
        raise InvalidInput(f"unknown kind of event: {message.kind}", "/kind")
    try:
        return Event(
            id=uuid.UUID(bytes=message.event_id),
            send_id=uuid.UUID(bytes=message.send_id),
            lease_token=uuid.UUID(bytes=message.lease_token),
            at=datetime.fromtimestamp(message.at_ms / 1000, UTC),
            kind=kind,
            queue_id=_clean(message.queue_id)[:_LONGEST_QUEUE_ID] or None,
            reason=_clean(message.reply.text) or _clean(message.detail) or None,
            enhanced_status=_clean(message.reply.enhanced_status),
            detail=_detail(message),
        )
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"malformed event: {error}") from error


def _detail(message: DeliveryEvent) -> str:
    reply = message.reply
    texts = {
        "queue_id": message.queue_id,
        "relay": reply.relay,
        "enhanced_status": reply.enhanced_status,
        "text": reply.text,
        "recipient": reply.recipient,
        "detail": message.detail,
    }
    fields: dict[str, str | float] = {name: _clean(text) for name, text in texts.items() if text}
    if message.HasField("reply") and math.isfinite(reply.delay_seconds):
        fields["delay_seconds"] = reply.delay_seconds
    return json.dumps(fields)


def _clean(text: str) -> str:
    """Return the text without NUL, which PostgreSQL cannot hold, and not longer than is useful."""
    return text.replace("\0", "")[:_LONGEST_TEXT]
