import uuid

from agent.journal import Taken
from protos.queue.v1.envelope_pb2 import Envelope

DEADLINE = 2_000_000_000_000


def make_envelope(send_id: bytes | None = None, deadline_ms: int = DEADLINE, number: int = 1) -> Envelope:
    return Envelope(
        send_id=send_id or uuid.uuid4().bytes,
        lease_token=uuid.uuid4().bytes,
        lease_deadline_ms=deadline_ms,
        lease_number=number,
        message=b"Subject: x\r\n\r\n",
    )


def taken(envelope: Envelope, priority: int = 1) -> Taken:
    return Taken(envelope, priority)


def leased_again(envelope: Envelope, later_ms: int = 1000) -> Envelope:
    return make_envelope(envelope.send_id, envelope.lease_deadline_ms + later_ms, envelope.lease_number + 1)
