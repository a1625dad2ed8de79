"""The life of a send: its states, what can happen to it, and which event leads from one state to the next.

The tables are the diagram. What is not in `TRANSITIONS` does not happen: an event that comes too late, twice or out of
order is kept on the timeline and moves nothing. No transition leaves a settled state. Of the final states only
`uncertain` is not settled: nobody waits for it any more, and yet its server's word under its last lease is the truth.

What ends each state that is not final, whether or not anybody ever tells of the send again:

state     what ends it                                                after how long
accepted  the claim; a lease of it                                    when it is due and nothing holds it: what does is
                                                                      named by the sweep and by `penguin queue show`
          a cancellation, a suppression, its inbox's removal          at once, or with the next claim or sweep
          the sweep, its server having been silent about it           SILENCE since the first silent lease began
queued    its server's word                                           seconds
          taking back leases: accepted again, or, the fifth time      the lease's deadline and the tolerance, and by as
          that its linked server had taken it in silence, dead        much as its server's clock is behind, to SILENCE
relayed   its server's word: delivered, bounced, or, at the end of    Postfix's queue life, two days
          Postfix's queue life, expired
          its server's word, the mail log being silent: uncertain     the journal's patience, seven days
          the sweep: uncertain                                        UNHEARD since Postfix had it; at once for a server
                                                                      that was removed
dead      an operator who retries or drops it                         when they do
          the sweep: uncertain                                        SILENCE since the first silent lease began

One rule holds these limits together: **whoever waits for another waits longer than the other does.** Postfix tries for
two days (mailstack/postfix); the agent waits seven for the mail log (agent/journal/settling.py); the control plane
waits eight for the agent, so that a server that is linked always speaks first. The other way round, an agent remembers
a send's end for seven days at least, and nothing is leased again to a server that has been silent about it for six.
"""

import enum
from collections.abc import Mapping
from datetime import timedelta
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
        State.UNCERTAIN: "It cannot be settled yet whether it was sent, and so it is not sent again.",
        State.DEAD: "Its server took it several times and never told of it; an operator retries or drops it.",
    }
)

#: States in which nothing more is done. An operator may retry what failed (queuer/dead_letters.py), since nothing was
#: submitted.
FINAL = frozenset(State) - {State.ACCEPTED, State.QUEUED, State.RELAYED, State.DEAD}
#: States after which a send is never leased again, so that its server may forget it.
CLOSED = FINAL - {State.FAILED}
#: States that no event leaves.
SETTLED = FINAL - {State.UNCERTAIN}

#: How long a server may be silent about a send and still be leased it again; claim.sql, reclaim.sql and dead_letters.py
#: have it as a literal. Less by a day than its journal remembers.
SILENCE = timedelta(days=6)
#: How long Postfix may have a send before the control plane stops waiting. More by a day, for the news to travel, than
#: the agent waits for the mail log.
UNHEARD = timedelta(days=8)


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


#: From ACCEPTED, DEAD and UNCERTAIN only under the lease that the send had last: it ran out, its news came late, and no
#: other was given. DELIVERED and its kin may overtake RELAYED on the way.
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
        (State.ACCEPTED, Kind.LEASE_EXPIRED): State.ACCEPTED,
        (State.ACCEPTED, Kind.FAILED): State.FAILED,
        (State.ACCEPTED, Kind.UNCERTAIN): State.UNCERTAIN,
        (State.DEAD, Kind.RELAYED): State.RELAYED,
        (State.DEAD, Kind.DEFERRED): State.DEAD,
        (State.DEAD, Kind.DELIVERED): State.DELIVERED,
        (State.DEAD, Kind.BOUNCED): State.BOUNCED,
        (State.DEAD, Kind.EXPIRED): State.EXPIRED,
        (State.DEAD, Kind.LEASE_EXPIRED): State.ACCEPTED,
        (State.DEAD, Kind.FAILED): State.FAILED,
        (State.DEAD, Kind.UNCERTAIN): State.UNCERTAIN,
        (State.RELAYED, Kind.DEFERRED): State.RELAYED,
        (State.RELAYED, Kind.DELIVERED): State.DELIVERED,
        (State.RELAYED, Kind.BOUNCED): State.BOUNCED,
        (State.RELAYED, Kind.EXPIRED): State.EXPIRED,
        (State.RELAYED, Kind.UNCERTAIN): State.UNCERTAIN,
        (State.UNCERTAIN, Kind.RELAYED): State.RELAYED,
        (State.UNCERTAIN, Kind.DELIVERED): State.DELIVERED,
        (State.UNCERTAIN, Kind.BOUNCED): State.BOUNCED,
        (State.UNCERTAIN, Kind.EXPIRED): State.EXPIRED,
        # Nothing was submitted, and nothing will be: its tenant may have sent it again meanwhile.
        (State.UNCERTAIN, Kind.LEASE_EXPIRED): State.CANCELLED,
        (State.UNCERTAIN, Kind.FAILED): State.FAILED,
    }
)
