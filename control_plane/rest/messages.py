"""Messages: send one, see what became of it, cancel it, and send it again."""

import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, status

from control_plane.delivery.states import State
from control_plane.inboxes.addresses import MAX_ADDRESS, parse_address
from control_plane.messages.accept import WantedSend
from control_plane.messages.cancel import cancel_send
from control_plane.messages.resend import resend
from control_plane.messages.search import Wanted, search_sends
from control_plane.messages.send_request import AcceptedSend
from control_plane.messages.timeline import load_send
from control_plane.rest.access import Access, HotAccess, hot_transaction, presented_for, transaction
from control_plane.rest.message_views import MessageAccepted, MessageList, MessageView, summary, view
from control_plane.rest.new_message import NewMessage, RequestKey
from control_plane.rest.pages import ListPage, TenantsPage
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.rest.written_time import WrittenTime
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import PresentedCaller
from db.session import driver_connection

router = APIRouter(tags=["messages"], route_class=ResourceRoute)


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """What is known of the messages; all of it must be true of each."""

    state: Annotated[State | None, Query()] = None
    inbox: Annotated[uuid.UUID | None, Query(description="The inbox's id.")] = None
    recipient: Annotated[str | None, Query(max_length=MAX_ADDRESS, description="The whole address, in any case.")] = (
        None
    )
    subject: Annotated[
        str | None, Query(min_length=1, max_length=200, description="A part of it, in any case of letters.")
    ] = None
    created_after: Annotated[WrittenTime | None, Query()] = None
    created_before: Annotated[WrittenTime | None, Query()] = None

    def wanted(self) -> Wanted:
        """Return what is searched for; raise `InvalidInput` for what is no address."""
        recipient = None if self.recipient is None else str(parse_address(self.recipient, "query/recipient"))
        return Wanted(
            inbox_id=self.inbox,
            recipient=recipient,
            state=self.state,
            subject=self.subject,
            created_after=self.created_after,
            created_before=self.created_before,
        )


_Reading = Annotated[HotAccess, hot_transaction(Permission.READ_MESSAGES)]
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
    page: TenantsPage,
    state: Annotated[State | None, Query()] = None,
) -> MessageList:
    """List an inbox's messages, newest first.

    A page may have fewer messages than `limit`, or none, and still a `next`: then there is more to look through.
    """
    return await _list(access, Wanted(inbox_id=inbox_id, state=state), page)


@router.get("/messages")
async def search(
    access: _Reading,
    wanted: Annotated[MessageFilter, Depends()],
    page: TenantsPage,
) -> MessageList:
    """Search the tenant's messages, newest first.

    A page may have fewer messages than `limit`, or none, and still a `next`: then there is more to look through.
    """
    return await _list(access, wanted.wanted(), page)


async def _list(access: HotAccess, wanted: Wanted, page: ListPage) -> MessageList:
    found = await search_sends(access.connection, access.scope, wanted, after=page.after, limit=page.limit)
    return MessageList(items=[summary(sent) for sent in found.messages], next=page.listing.cursor(found.next))


@router.get("/messages/{message_id}")
async def show(message_id: uuid.UUID, access: _Reading) -> MessageView:
    """Show a message's state and its whole timeline."""
    return view(*await load_send(access.connection, access.scope, message_id))


@router.delete("/messages/{message_id}")
async def cancel(message_id: uuid.UUID, access: _Sending) -> MessageView:
    """Cancel a message that was never handed to a server.

    409 says its state when it is too late: a server has it or may have had it, or it came to its end.
    """
    await cancel_send(access.session, access.scope, message_id)
    return view(*await load_send(await driver_connection(access.session), access.scope, message_id))


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
