"""What the routes of messages show."""

import datetime as dt
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from control_plane.messages.compose import message_id
from control_plane.messages.send_request import Priority
from control_plane.messages.timeline import Moment
from db.models import Message

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


def summary(message: Message) -> MessageSummary:
    """Return what a list shows of a message."""
    return MessageSummary(
        id=message.id,
        inbox_id=message.inbox_id,
        vps_id=message.vps_id,
        message_id=message_id(message.id, message.signing_domain),
        envelope_sender=message.envelope_sender,
        recipient=message.recipient,
        subject=message.subject,
        priority=_PRIORITY_NAMES[Priority(message.priority)],
        state=message.state,
        state_reason=message.state_reason,
        queue_id=message.queue_id,
        resend_of=message.resend_of,
        send_at=message.send_at,
        accepted_at=message.accepted_at,
        queued_at=message.queued_at,
        relayed_at=message.relayed_at,
        final_at=message.final_at,
    )


def view(message: Message, moments: tuple[Moment, ...]) -> MessageView:
    """Return what a message itself shows."""
    timeline = [MomentView.model_validate(moment) for moment in moments]
    return MessageView(**summary(message).model_dump(), timeline=timeline)
