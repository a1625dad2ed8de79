"""Messages: send one, and see what became of it."""

import datetime as dt
import hashlib
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request, Response, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from control_plane.messages.accept import AcceptedSend, Idempotency, Priority, SendRequest, accept_send
from control_plane.messages.compose import message_id
from control_plane.messages.timeline import Moment, load_send
from control_plane.rest.access import Access, transaction
from control_plane.tenancy.permissions import Permission
from db.models import Message

router = APIRouter(tags=["messages"])

_Reading = Annotated[Access, transaction(Permission.READ_MESSAGES)]
_Sending = Annotated[Access, transaction(Permission.SEND_MESSAGES)]
_IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[!-~]+$")]

_PriorityName = Literal["high", "normal", "low"]
_PRIORITIES: dict[_PriorityName, Priority] = {"high": Priority.HIGH, "normal": Priority.NORMAL, "low": Priority.LOW}
_PRIORITY_NAMES = {value: name for name, value in _PRIORITIES.items()}

_HeaderName = Annotated[str, Field(max_length=100)]
_HeaderValue = Annotated[str, Field(max_length=4000)]


class NewMessage(BaseModel):
    """A message to one recipient; text, html or both."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(max_length=320)
    subject: str = Field("", max_length=998)
    text: str | None = None
    html: str | None = None
    headers: dict[_HeaderName, _HeaderValue] = Field(
        default_factory=dict, max_length=50, description="Reply-To, In-Reply-To, References, List-* and X-*."
    )
    priority: _PriorityName = "normal"
    send_at: AwareDatetime | None = Field(None, description="Not before this moment; with an offset from UTC.")

    def as_request(self) -> SendRequest:
        """Return what the messages package takes."""
        return SendRequest(
            to=self.to,
            subject=self.subject,
            text=self.text,
            html=self.html,
            headers=tuple(self.headers.items()),
            priority=_PRIORITIES[self.priority],
            send_at=self.send_at,
        )


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


class MessageView(BaseModel):
    """A message, its state, and all that happened to it, in order."""

    id: uuid.UUID
    inbox_id: uuid.UUID | None
    vps_id: uuid.UUID
    message_id: str
    envelope_sender: str
    recipient: str
    subject: str
    priority: _PriorityName
    state: str
    state_reason: str | None
    queue_id: str | None
    send_at: dt.datetime
    accepted_at: dt.datetime
    queued_at: dt.datetime | None
    relayed_at: dt.datetime | None
    final_at: dt.datetime | None
    timeline: list[MomentView]


@router.post("/inboxes/{inbox_id}/messages", status_code=status.HTTP_202_ACCEPTED)
async def send(
    inbox_id: uuid.UUID,
    body: NewMessage,
    request: Request,
    response: Response,
    access: _Sending,
    *,
    idempotency_key: _IdempotencyKey = None,
) -> MessageAccepted:
    """Accept a message for sending.

    The same request under the same Idempotency-Key gives the same answer and sends nothing again; another request
    under that key is refused with 409.
    """
    idempotency = await _idempotency(request, idempotency_key)
    accepted: AcceptedSend = await accept_send(access.session, access.scope, inbox_id, body.as_request(), idempotency)
    response.headers["Location"] = f"/api/v1/messages/{accepted.id}"
    return MessageAccepted.model_validate(accepted)


@router.get("/messages/{message_id}")
async def show(message_id: uuid.UUID, access: _Reading) -> MessageView:
    """Show a message's state and its whole timeline."""
    return _view(*await load_send(access.session, access.scope, message_id))


async def _idempotency(request: Request, key: str | None) -> Idempotency | None:
    if key is None:
        return None
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode())
    digest.update(await request.body())
    return Idempotency(key, digest.digest())


def _view(message: Message, moments: tuple[Moment, ...]) -> MessageView:
    return MessageView(
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
        send_at=message.send_at,
        accepted_at=message.accepted_at,
        queued_at=message.queued_at,
        relayed_at=message.relayed_at,
        final_at=message.final_at,
        timeline=[MomentView.model_validate(moment) for moment in moments],
    )
