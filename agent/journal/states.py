"""The life of a send on one server: its states, and what may follow what.

The states are the agent's own; the control plane sees the delivery events that the transitions make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum


class SendState(StrEnum):
    """Where a send stands."""

    #: Taken from Redis and journaled with its envelope; not one byte of it has gone to Postfix, or Postfix said no
    #: for now.
    INTENT = "intent"
    #: Its message may be on the way to Postfix: whether Postfix took it is known only from its reply or its log.
    SUBMITTING = "submitting"
    #: Postfix has it, under the queue id; the envelope is gone from here.
    RELAYED = "relayed"
    #: The remote server, or the local mailbox, took it.
    DELIVERED = "delivered"
    #: Refused for good, by the remote server or by our own Postfix.
    BOUNCED = "bounced"
    #: Postfix gave up after its queue life.
    EXPIRED = "expired"
    #: The lease ran out first; nothing was submitted.
    LEASE_EXPIRED = "lease_expired"
    #: It cannot be submitted as it is; nothing was submitted.
    FAILED = "failed"
    #: It cannot be settled what became of it; never submitted again from here.
    UNCERTAIN = "uncertain"


TRANSITIONS: Mapping[SendState, frozenset[SendState]] = {
    SendState.INTENT: frozenset({SendState.SUBMITTING, SendState.LEASE_EXPIRED, SendState.FAILED}),
    SendState.SUBMITTING: frozenset(
        {
            SendState.INTENT,
            SendState.RELAYED,
            SendState.BOUNCED,
            SendState.LEASE_EXPIRED,
            SendState.FAILED,
            SendState.UNCERTAIN,
        }
    ),
    SendState.RELAYED: frozenset(
        {SendState.DELIVERED, SendState.BOUNCED, SendState.EXPIRED, SendState.UNCERTAIN},
    ),
    # The log may still prove, late, that Postfix took it.
    SendState.UNCERTAIN: frozenset({SendState.RELAYED}),
    # Nothing was submitted, so a new lease starts it again.
    SendState.LEASE_EXPIRED: frozenset({SendState.INTENT}),
    SendState.FAILED: frozenset({SendState.INTENT}),
    SendState.DELIVERED: frozenset(),
    SendState.BOUNCED: frozenset(),
    SendState.EXPIRED: frozenset(),
}

#: States in which the envelope is kept.
IN_HAND = frozenset({SendState.INTENT, SendState.SUBMITTING})
#: States that end a send here.
FINAL = frozenset(SendState) - IN_HAND - {SendState.RELAYED}


def sources(target: SendState) -> frozenset[SendState]:
    """Return the states from which `target` may follow."""
    return frozenset(state for state, targets in TRANSITIONS.items() if target in targets)


class Arrival(Enum):
    """What to do with an envelope that has come."""

    #: Unknown here, or known and never submitted: take it as new.
    TAKE = "take"
    #: In hand under an older lease: it now has this one.
    REPLACE = "replace"
    #: Being submitted under an older lease: it now has this one, and its submission goes on.
    ADOPT = "adopt"
    #: Its outcome is known: tell it again, under this lease.
    REPEAT = "repeat"
    #: Has come before, or under an older lease than ours, or may have been forgotten: nothing to do.
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as its envelope tells of it."""

    token: bytes
    #: How many leases the send has had, this one included. The database counts them, and no clock has a part in it.
    number: int
    #: By the database's clock.
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows of a send when its envelope comes (again)."""

    state: SendState
    lease_token: bytes
    lease_number: int


def on_arrival(known: Known | None, lease: Lease, forgotten_until_ms: int) -> Arrival:
    """Decide what an envelope under this lease means.

    Of two leases the one with the greater number is the newer. An unknown send whose lease ends no later than that of a
    send which was forgotten may be a forgotten one; see `settling` for why no other can be.
    """
    if known is None:
        return Arrival.TAKE if lease.deadline_ms > forgotten_until_ms else Arrival.DROP
    if lease.token == known.lease_token or lease.number <= known.lease_number:
        return Arrival.DROP
    match known.state:
        case SendState.LEASE_EXPIRED | SendState.FAILED:
            return Arrival.TAKE
        case SendState.INTENT:
            return Arrival.REPLACE
        case SendState.SUBMITTING:
            return Arrival.ADOPT
        case _:
            return Arrival.REPEAT
