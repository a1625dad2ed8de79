"""The link service: the stream that an agent holds open, and the renewal of its certificate.

A hub holds thousands of streams that say nothing for seconds. So messages are read and written one by one, with the
library's reader and writer: iterating, each link would keep the last message of either way until the next one.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

from grpc.aio import ServicerContext

from control_plane.enrolment.authority import Authority
from control_plane.enrolment.certificates import record_certificate
from control_plane.errors import InvalidInput
from control_plane.fleet.links import session_id
from control_plane.hub.caller import CALLER
from control_plane.hub.conversation import Conversation, Resources
from control_plane.hub.session import Session
from control_plane.hub.sessions import Sessions
from log_lines.lines import about
from protos.agent.v1.link_pb2 import AgentMessage, Hello, HubMessage, RenewRequest, RenewResponse
from protos.agent.v1.link_pb2_grpc import LinkServicer

#: Seconds within which an agent that has connected must say Hello.
_HELLO_SECONDS = 20.0

_log = logging.getLogger(__name__)


class LinkService(LinkServicer):
    """Serves the link port; `hub` identifies this process in the database across its restarts."""

    def __init__(self, resources: Resources, authority: Authority, sessions: Sessions, hub: uuid.UUID) -> None:
        self._resources = resources
        self._authority = authority
        self._sessions = sessions
        self._hub = hub

    async def Connect(  # type: ignore[override]  # noqa: N802 - named by the protocol; its stubs know iterators alone
        self, _requests: AsyncIterator[AgentMessage], context: ServicerContext[AgentMessage, HubMessage]
    ) -> None:
        """Converse with an admitted agent until either side ends it."""
        session = Session(session_id(self._hub), CALLER.get())
        conversation = Conversation(self._resources, session)
        with self._sessions.registered(session):
            await conversation.open(await _hello(context.read))
            self._sessions.note_opened(session)
            with about(server_id=session.vps_id):
                listening = _begin(conversation, session, context.read)
            try:
                await session.pass_on(context.write)
            finally:
                listening.cancel()
                await asyncio.gather(listening, session.end_errands(), return_exceptions=True)
                await conversation.close()
                _log.info("link of %s is down", session.vps_id)

    async def Renew(  # noqa: N802 - named by the protocol
        self, request: RenewRequest, _context: ServicerContext[RenewRequest, RenewResponse]
    ) -> RenewResponse:
        """Issue another certificate to the caller for the key in the request."""
        identity = CALLER.get().identity
        issued = self._authority.issue_agent(request.csr_der, identity)
        async with self._resources.transaction() as database:
            await record_certificate(database, identity, issued)
        _log.info("renewed %s with certificate %s", identity.vps_id, issued.serial)
        return RenewResponse(certificate_pem=issued.pem, ca_pem=self._authority.certificate_pem)


def _begin(conversation: Conversation, session: Session, read: Callable[[], Awaitable[object]]) -> "asyncio.Task[None]":
    """Listen to the agent and serve what the link calls for; return the task that listens."""
    listening = asyncio.create_task(conversation.listen(read))
    listening.add_done_callback(session.watch)

    def broken(error: BaseException) -> None:
        # Nobody is listened to on a link that is to end, also when they do not read that it does.
        session.break_off(error)
        listening.cancel()

    session.look_again.serve(conversation.tell_desired_state, broken)
    session.queue_access.serve(conversation.grant_queue_access, broken)
    session.commands_waiting.serve(conversation.pass_commands_on, broken)
    return listening


async def _hello(read: Callable[[], Awaitable[object]]) -> Hello:
    first: object = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HELLO_SECONDS):
            first = await read()
    if not isinstance(first, AgentMessage):
        raise InvalidInput("the agent said nothing; it must begin with Hello")
    if first.WhichOneof("body") != "hello":
        raise InvalidInput("the agent must begin with Hello")
    return first.hello
