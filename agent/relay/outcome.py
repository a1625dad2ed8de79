"""The failure policy of submission: for each stage and each answer, what becomes of the send. The one place for it.

A send is only ever repeated where it is certain that Postfix has nothing of it: before the first byte of the message,
or after Postfix said no. A line that is lost after that byte is settled from the log, never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from agent.journal import Refusal, SendState
from agent.relay.replies import Reply
from protos.agent.v1.delivery_pb2 import RemoteReply


class Stage(Enum):
    """What Postfix was answering."""

    #: Opening the session.
    SESSION = "session"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    #: The message, from its first byte to the reply after the final dot.
    MESSAGE = "message"


class Answer(Enum):
    """The kind of answer."""

    YES = "yes"
    NOT_NOW = "not now"
    NEVER = "never"
    #: The line was lost, or what came was no SMTP.
    NONE = "none"


class Verdict(Enum):
    """What becomes of the send."""

    GO_ON = "go on"
    #: Postfix has it.
    RELAYED = "relayed"
    #: Postfix is in trouble: keep it, and let this session's work rest.
    SESSION_LATER = "session later"
    #: Postfix will not have this one now: keep it, go on with others.
    SEND_LATER = "send later"
    #: Postfix refuses its recipient for good.
    BOUNCED = "bounced"
    #: Postfix refuses it for good, for a fault of the message or of ours.
    FAILED = "failed"
    #: Its lease ran out before its message was begun.
    TOO_LATE = "too late"
    #: Postfix may have it: look in the log.
    SETTLE = "settle"


POLICY: Mapping[tuple[Stage, Answer], Verdict] = MappingProxyType(
    {
        (Stage.SESSION, Answer.YES): Verdict.GO_ON,
        (Stage.SESSION, Answer.NOT_NOW): Verdict.SESSION_LATER,
        (Stage.SESSION, Answer.NEVER): Verdict.SESSION_LATER,
        (Stage.SESSION, Answer.NONE): Verdict.SESSION_LATER,
        (Stage.MAIL, Answer.YES): Verdict.GO_ON,
        # Queue full, or going down: it would say the same of any other send.
        (Stage.MAIL, Answer.NOT_NOW): Verdict.SESSION_LATER,
        (Stage.MAIL, Answer.NEVER): Verdict.FAILED,
        (Stage.MAIL, Answer.NONE): Verdict.SESSION_LATER,
        (Stage.RCPT, Answer.YES): Verdict.GO_ON,
        (Stage.RCPT, Answer.NOT_NOW): Verdict.SEND_LATER,
        (Stage.RCPT, Answer.NEVER): Verdict.BOUNCED,
        (Stage.RCPT, Answer.NONE): Verdict.SESSION_LATER,
        (Stage.DATA, Answer.YES): Verdict.GO_ON,
        (Stage.DATA, Answer.NOT_NOW): Verdict.SEND_LATER,
        (Stage.DATA, Answer.NEVER): Verdict.FAILED,
        (Stage.DATA, Answer.NONE): Verdict.SESSION_LATER,
        (Stage.MESSAGE, Answer.YES): Verdict.RELAYED,
        (Stage.MESSAGE, Answer.NOT_NOW): Verdict.SEND_LATER,
        (Stage.MESSAGE, Answer.NEVER): Verdict.FAILED,
        (Stage.MESSAGE, Answer.NONE): Verdict.SETTLE,
    }
)

_CLOSING = 421
#: Enhanced status of a fault of the address (RFC 3463 §3.2). A refusal for another reason, such as our own
#: configuration, says nothing about the recipient and must not look as if it did.
_ADDRESS_STATUS = "5.1."
_YES = {Stage.DATA: 354}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with the reply, if any, that led to it."""

    stage: Stage
    verdict: Verdict
    reply: Reply | None = None


def judge(stage: Stage, reply: Reply | None) -> Outcome:
    """Return what becomes of a send after this reply, or after none."""
    verdict = POLICY[stage, _answer(stage, reply)]
    if verdict is Verdict.RELAYED and (reply is None or reply.queue_id is None):
        verdict = Verdict.SETTLE
    if verdict is Verdict.BOUNCED and not (reply is not None and reply.text.startswith(_ADDRESS_STATUS)):
        verdict = Verdict.FAILED
    if verdict is Verdict.SEND_LATER and reply is not None and reply.code == _CLOSING:
        verdict = Verdict.SESSION_LATER
    return Outcome(stage, verdict, reply)


def refusal(outcome: Outcome, recipient: str) -> Refusal:
    """Return how a send ends that Postfix refused for good."""
    if outcome.reply is None:
        raise ValueError("nobody refused anything")
    said = f"{outcome.reply.code} {outcome.reply.text}"
    if outcome.verdict is Verdict.FAILED:
        return Refusal(SendState.FAILED, f"Our Postfix refused it at {outcome.stage.value}: {said}")
    first_word = outcome.reply.text.partition(" ")[0]
    reply = RemoteReply(
        relay="injection",
        enhanced_status=first_word if first_word.count(".") == 2 else "",
        text=said,
        recipient=recipient,
    )
    return Refusal(SendState.BOUNCED, "", reply)


def _answer(stage: Stage, reply: Reply | None) -> Answer:
    if reply is None:
        return Answer.NONE
    match reply.code // 100:
        case 4:
            return Answer.NOT_NOW
        case 5:
            return Answer.NEVER
        case 3 if reply.code == _YES.get(stage):
            return Answer.YES
        case 2 if stage not in _YES:
            return Answer.YES
        case _:
            return Answer.NONE
