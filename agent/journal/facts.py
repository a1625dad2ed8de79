"""What the mail log can say about a send, and the place in the log up to which it has been heard.

`agent/maillog` reads these out of lines; the journal applies them. A queue id is Postfix's own, `at_ms` is when it was
logged, in milliseconds since the Unix epoch.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class HasMessageId:
    """Cleanup has seen the Message-ID of one of our sends, before or after Postfix accepted it."""

    queue_id: str
    #: The 16 bytes of the send's id.
    send_id: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """The queue manager has the message: Postfix took it."""

    queue_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The client went away in the middle of the message: Postfix did not take it."""

    queue_id: str


class Verdict(Enum):
    """Postfix's word for the outcome of one attempt."""

    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver, with the remote reply."""

    queue_id: str
    at_ms: int
    verdict: Verdict
    recipient: str
    #: "host[address]:port" of the remote side, or "none".
    relay: str
    enhanced_status: str
    text: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The message outlived the queue's limit and goes back to its sender."""

    queue_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Removed:
    """The message is no longer in the queue."""

    queue_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Marker:
    """A token that the relay had Postfix log: every line before it has been read."""

    token: str


@dataclass(frozen=True, slots=True)
class MasterStarted:
    """Postfix's master has started: the one before it ended, and the log writer with it, maybe with lines unwritten."""


Fact = HasMessageId | Accepted | Abandoned | Attempt | GaveUp | Removed | Marker | MasterStarted


@dataclass(frozen=True, slots=True)
class LogCursor:
    """How far the log has been read."""

    #: Of the file that was being read.
    inode: int
    #: Of the first byte not yet read as a whole line.
    offset: int
    #: The last bytes before `offset`, to know the file again.
    tail: bytes
    #: The reader's memory of unfinished matters, for it alone to understand.
    memory: str
