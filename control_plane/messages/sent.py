"""What is shown of a send: its row without the payload and without what the queue keeps there for itself."""

import datetime as dt
import uuid
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Sent:
    """A send as its row is; `resend_of` is the uncertain one that it sends again."""

    id: uuid.UUID
    inbox_id: uuid.UUID | None
    vps_id: uuid.UUID
    signing_domain: str
    envelope_sender: str
    recipient: str
    subject: str
    priority: int
    state: str
    state_reason: str | None
    queue_id: str | None
    resend_of: uuid.UUID | None
    send_at: dt.datetime
    accepted_at: dt.datetime
    queued_at: dt.datetime | None
    relayed_at: dt.datetime | None
    final_at: dt.datetime | None


#: The columns of `messages` that a `Sent` is made of.
COLUMNS = [column.name for column in fields(Sent)]
