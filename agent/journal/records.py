"""What goes into the journal and comes out of it."""

from dataclasses import dataclass, field
from enum import Enum

from agent.journal.clock import BootClock
from agent.journal.states import SendState
from protos.agent.v1.delivery_pb2 import RemoteReply
from protos.queue.v1.envelope_pb2 import Envelope


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a send ends without having been relayed; `reply` is what the refusing side said, if one did."""

    state: SendState
    detail: str
    reply: RemoteReply | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """An envelope as it came, with the priority (0 high, 1 normal, 2 low) of its stream."""

    envelope: Envelope
    priority: int


@dataclass(frozen=True, slots=True)
class TakenAt:
    """When envelopes were taken, by both clocks."""

    wall_ms: int
    boot: BootClock


@dataclass(frozen=True, slots=True)
class Malformed:
    """A stream entry that is no envelope."""

    stream: str
    entry_id: str
    reason: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenSend:
    """A send that was in hand when the journal was last closed."""

    envelope: Envelope
    priority: int
    state: SendState
    #: When its lease ends by the boot clock; None when it was taken in another boot.
    boot_deadline_ms: int | None


@dataclass(frozen=True, slots=True)
class InPostfix:
    """A send that Postfix has, so far as is known."""

    #: Its place in the journal, to go on from.
    row_id: int
    send_id: bytes
    queue_id: str


class Settled(Enum):
    """What the journal and the log say of a send whose submission was cut."""

    #: Postfix never finished it: it is in hand again and may be submitted.
    NOT_TAKEN = "not taken"
    #: Nothing is left to settle: its state tells.
    KNOWN = "known"
    #: Postfix began it and the log does not say how it ended.
    OPEN = "open"
    #: The log has a hole where the answer would be.
    UNKNOWABLE = "unknowable"


@dataclass(frozen=True, slots=True)
class Counts:
    """For the health report."""

    #: Sends taken and not yet handed to Postfix.
    in_hand: int
    #: Sends handed to Postfix and not yet final.
    in_postfix: int
    #: Events not yet confirmed by the control plane.
    spooled_events: int
    malformed_envelopes: int
    malformed_log_lines: int
