"""The life of a send: its states, what can happen to it, and which event leads from one state to the next.

The tables are the diagram. What is not in `TRANSITIONS` does not happen: an event that comes too late, twice or out of
order is kept on the timeline and moves nothing. No transition leaves a final state.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType


class State(enum.StrEnum):
    """Where a send stands (`messages.state`)."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    RELAYED = "relayed"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    UNCERTAIN = "uncertain"
    DEAD = "dead"


#: What each state means, for people.
MEANING: Mapping[State, str] = MappingProxyType(
    {
        State.ACCEPTED: "Committed and waiting to be leased to its server.",
        State.QUEUED: "Leased to its server, which may submit it to Postfix until the deadline.",
        State.RELAYED: "Postfix on its server has it and tries to deliver it.",
        State.DELIVERED: "The remote server took responsibility for it.",
        State.BOUNCED: "The remote server refused it for good.",
        State.EXPIRED: "Postfix gave up after trying for its queue life.",
        State.FAILED: "It could not be submitted, for a fault of its own or of ours; nothing was sent.",
        State.CANCELLED: "It was withdrawn before Postfix had it.",
        State.SUPPRESSED: "Its recipient was suppressed when it was to be leased; nothing was sent.",
        State.UNCERTAIN: "It cannot be settled whether it was sent, and so it is not sent again.",
        State.DEAD: "Its server took it several times and never told of it; an operator retries or drops it.",
    }
)

#: States that no event leaves. An operator may retry what failed (queuer/dead_letters.py), since nothing was submitted.
FINAL = frozenset(State) - {State.ACCEPTED, State.QUEUED, State.RELAYED, State.DEAD}


class Kind(enum.StrEnum):
    """What an agent tells of a send (`message_events.kind`)."""

    RELAYED = "relayed"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    LEASE_EXPIRED = "lease_expired"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


#: From ACCEPTED and DEAD only under the lease that the send had last: it ran out, its news came late, and no other was
#: given. DELIVERED and its kin may overtake RELAYED on the way.
TRANSITIONS: Mapping[tuple[State, Kind], State] = MappingProxyType(
    {
        (State.QUEUED, Kind.RELAYED): State.RELAYED,
        (State.QUEUED, Kind.DEFERRED): State.QUEUED,
        (State.QUEUED, Kind.DELIVERED): State.DELIVERED,
        (State.QUEUED, Kind.BOUNCED): State.BOUNCED,
        (State.QUEUED, Kind.EXPIRED): State.EXPIRED,
        (State.QUEUED, Kind.LEASE_EXPIRED): State.ACCEPTED,
        (State.QUEUED, Kind.FAILED): State.FAILED,
        (State.QUEUED, Kind.UNCERTAIN): State.UNCERTAIN,
        (State.ACCEPTED, Kind.RELAYED): State.RELAYED,
        (State.ACCEPTED, Kind.DEFERRED): State.ACCEPTED,
        (State.ACCEPTED, Kind.DELIVERED): State.DELIVERED,
        (State.ACCEPTED, Kind.BOUNCED): State.BOUNCED,
        (State.ACCEPTED, Kind.EXPIRED): State.EXPIRED,
        (State.ACCEPTED, Kind.FAILED): State.FAILED,
        (State.ACCEPTED, Kind.UNCERTAIN): State.UNCERTAIN,
        (State.DEAD, Kind.RELAYED): State.RELAYED,
        (State.DEAD, Kind.DEFERRED): State.DEAD,
        (State.DEAD, Kind.DELIVERED): State.DELIVERED,
        (State.DEAD, Kind.BOUNCED): State.BOUNCED,
        (State.DEAD, Kind.EXPIRED): State.EXPIRED,
        (State.DEAD, Kind.FAILED): State.FAILED,
        (State.DEAD, Kind.UNCERTAIN): State.UNCERTAIN,
        (State.RELAYED, Kind.DEFERRED): State.RELAYED,
        (State.RELAYED, Kind.DELIVERED): State.DELIVERED,
        (State.RELAYED, Kind.BOUNCED): State.BOUNCED,
        (State.RELAYED, Kind.EXPIRED): State.EXPIRED,
        (State.RELAYED, Kind.UNCERTAIN): State.UNCERTAIN,
    }
)
