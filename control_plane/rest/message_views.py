"""What the routes of messages show."""

import datetime as dt
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from control_plane.messages.compose import message_id
from control_plane.messages.send_request import Priority
from control_plane.messages.sent import Sent
from control_plane.messages.timeline import Moment

PriorityName = Literal["high", "normal", "low"]
PRIORITIES: dict[PriorityName, Priority] = {"high": Priority.HIGH, "normal": Priority.NORMAL, "low": Priority.LOW}
_PRIORITY_NAMES = {value: name for name, value in PRIORITIES.items()}


class MessageAccepted(BaseModel):
    """The message is committed; it will end in exactly one final state."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    state: Literal["accepted"] = "accepted"
    message_id: str
    accepted_at: dt.datetime
    send_at: dt.datetime


class MomentView(BaseModel):
    """Something that happened; `applied` is false for what came too late to change the state."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    at: dt.datetime
    applied: bool
    detail: dict[str, Any]


class MessageSummary(BaseModel):
    """A message and its state. `resend_of` is the uncertain message that it sends again."""

    id: uuid.UUID
    inbox_id: uuid.UUID | None
    vps_id: uuid.UUID
    message_id: str
    envelope_sender: str
    recipient: str
    subject: str
    priority: PriorityName
    state: str
    state_reason: str | None
    queue_id: str | None
    resend_of: uuid.UUID | None
    send_at: dt.datetime
    accepted_at: dt.datetime
    queued_at: dt.datetime | None
    relayed_at: dt.datetime | None
    final_at: dt.datetime | None


class MessageView(MessageSummary):
    """A message, its state, and all that happened to it, in order."""

    timeline: list[MomentView]


class MessageList(BaseModel):
    """A page of messages, newest first; `next` is what to send as `after` for the page that follows."""

    items: list[MessageSummary]
    next: str | None


def summary(sent: Sent) -> MessageSummary:
    """Return what a list shows of a message."""
    return MessageSummary(**_shown(sent))


def view(sent: Sent, moments: tuple[Moment, ...]) -> MessageView:
    """Return what a message itself shows."""
    return MessageView(**_shown(sent), timeline=[MomentView.model_validate(moment) for moment in moments])


def _shown(sent: Sent) -> dict[str, Any]:
    return {
        "id": sent.id,
        "inbox_id": sent.inbox_id,
        "vps_id": sent.vps_id,
        "message_id": message_id(sent.id, sent.signing_domain),
        "envelope_sender": sent.envelope_sender,
        "recipient": sent.recipient,
        "subject": sent.subject,
        "priority": _PRIORITY_NAMES[Priority(sent.priority)],
        "state": sent.state,
        "state_reason": sent.state_reason,
        "queue_id": sent.queue_id,
        "resend_of": sent.resend_of,
        "send_at": sent.send_at,
        "accepted_at": sent.accepted_at,
        "queued_at": sent.queued_at,
        "relayed_at": sent.relayed_at,
        "final_at": sent.final_at,
    }
