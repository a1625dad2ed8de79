"""A send under a lease, as the database gives it and as it travels."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from protos.queue.v1.envelope_pb2 import Envelope


@dataclass(frozen=True, slots=True)
class LeasedSend:
    """What the envelope needs; the field names are the columns of claim.sql and refill.sql."""

    id: uuid.UUID
    vps_id: uuid.UUID
    priority: int
    lease_token: uuid.UUID
    lease_deadline: datetime
    envelope_sender: str
    recipient: str
    signing_domain: str
    payload: bytes = field(repr=False)
    #: How many leases it has had, this one included.
    lease_number: int

    def envelope(self) -> bytes:
        """Return the serialized envelope."""
        return Envelope(
            send_id=self.id.bytes,
            lease_token=self.lease_token.bytes,
            lease_deadline_ms=int(self.lease_deadline.timestamp() * 1000),
            envelope_sender=self.envelope_sender,
            recipient=self.recipient,
            message=self.payload,
            signing_domain=self.signing_domain,
            lease_number=self.lease_number,
        ).SerializeToString()
