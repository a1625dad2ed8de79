"""Messages: send one, see what became of it, cancel it, and send it again."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from control_plane.delivery.states import State
from control_plane.messages.accept import WantedSend
from control_plane.messages.cancel import cancel_send
from control_plane.messages.listing import list_sends
from control_plane.messages.resend import resend
from control_plane.messages.send_request import AcceptedSend
from control_plane.messages.timeline import load_send
from control_plane.rest.access import Access, presented_for, transaction
from control_plane.rest.message_views import MessageAccepted, MessageList, MessageView, summary, view
from control_plane.rest.new_message import NewMessage, RequestKey
from control_plane.rest.pages import DEFAULT_PAGE, After, Limit, next_after
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import PresentedCaller

router = APIRouter(tags=["messages"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_MESSAGES)]
_Sending = Annotated[Access, transaction(Permission.SEND_MESSAGES)]
_SendingTogether = Annotated[PresentedCaller, presented_for(Permission.SEND_MESSAGES)]


@router.post("/inboxes/{inbox_id}/messages", status_code=status.HTTP_202_ACCEPTED, response_model=MessageAccepted)
async def send(
    *,
    request: Request,
    presented: _SendingTogether,
    inbox_id: uuid.UUID,
    body: NewMessage,
    idempotency: RequestKey,
) -> Response:
    """Accept a message for sending.

    The same request under the same Idempotency-Key gives the same answer and sends nothing again; another request
    under that key is refused with 422.
    """
    wanted = WantedSend(inbox_id, body.as_request(), idempotency)
    accepted = await parts_of(request).accepting.accept(presented, wanted)
    # Written here: the framework would check our own answer again.
    answer = MessageAccepted.model_validate(accepted).model_dump_json()
    return Response(answer, status.HTTP_202_ACCEPTED, _location(accepted), "application/json")


@router.get("/inboxes/{inbox_id}/messages")
async def list_of_inbox(
    inbox_id: uuid.UUID,
    access: _Reading,
    state: Annotated[State | None, Query()] = None,
    after: After = None,
    limit: Limit = DEFAULT_PAGE,
) -> MessageList:
    """List an inbox's messages, newest first."""
    messages = await list_sends(access.session, access.scope, inbox_id, state=state, after=after, limit=limit)
    return MessageList(
        items=[summary(message) for message in messages],
        next=next_after([message.id for message in messages], limit),
    )


@router.get("/messages/{message_id}")
async def show(message_id: uuid.UUID, access: _Reading) -> MessageView:
    """Show a message's state and its whole timeline."""
    return view(*await load_send(access.session, access.scope, message_id))


@router.delete("/messages/{message_id}")
async def cancel(message_id: uuid.UUID, access: _Sending) -> MessageView:
    """Cancel a message that was never handed to a server.

    409 says its state when it is too late: a server has it or may have had it, or it came to its end.
    """
    await cancel_send(access.session, access.scope, message_id)
    return view(*await load_send(access.session, access.scope, message_id))


@router.post("/messages/{message_id}/resend", status_code=status.HTTP_202_ACCEPTED)
async def send_again(
    message_id: uuid.UUID, response: Response, idempotency: RequestKey, access: _Sending
) -> MessageAccepted:
    """Send an uncertain message again, as a new message with an id of its own; its recipient may get it twice.

    A message is sent again once; the new one can be sent again when it is uncertain too. The same request under the
    same Idempotency-Key gives the same answer and sends nothing again.
    """
    return _accepted(await resend(access.session, access.scope, message_id, idempotency), response)


def _accepted(accepted: AcceptedSend, response: Response) -> MessageAccepted:
    response.headers.update(_location(accepted))
    return MessageAccepted.model_validate(accepted)


def _location(accepted: AcceptedSend) -> dict[str, str]:
    return {"Location": f"/api/v1/messages/{accepted.id}"}
