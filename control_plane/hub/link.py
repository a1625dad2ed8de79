"""The link service: the stream that an agent holds open, and the renewal of its certificate."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator

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

    async def Connect(  # noqa: N802 - named by the protocol
        self, request_iterator: AsyncIterator[AgentMessage], _context: ServicerContext[AgentMessage, HubMessage]
    ) -> AsyncIterator[HubMessage]:
        """Converse with an admitted agent until either side ends it."""
        session = Session(session_id(self._hub), CALLER.get())
        conversation = Conversation(self._resources, session)
        hello = await _hello(request_iterator)
        with self._sessions.registered(session):
            await conversation.open(hello)
            self._sessions.note_opened(session)
            _log.info("link of %s is up", session.vps_id)
            with about(server_id=session.vps_id):
                listening = _begin(conversation, session, request_iterator)
            try:
                while (message := await session.next_message()) is not None:
                    yield message
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
        async with self._resources.database.system() as database:
            await record_certificate(database, identity, issued)
        _log.info("renewed %s with certificate %s", identity.vps_id, issued.serial)
        return RenewResponse(certificate_pem=issued.pem, ca_pem=self._authority.certificate_pem)


def _begin(conversation: Conversation, session: Session, messages: AsyncIterator[AgentMessage]) -> "asyncio.Task[None]":
    """Listen to the agent and serve what the link calls for; return the task that listens."""
    listening = asyncio.create_task(conversation.listen(messages))
    listening.add_done_callback(session.watch)

    def broken(error: BaseException) -> None:
        # Nobody is listened to on a link that is to end, also when they do not read that it does.
        session.break_off(error)
        listening.cancel()

    session.look_again.serve(conversation.tell_desired_state, broken)
    session.queue_access.serve(conversation.grant_queue_access, broken)
    session.commands_waiting.serve(conversation.pass_commands_on, broken)
    return listening


async def _hello(messages: AsyncIterator[AgentMessage]) -> Hello:
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            first = await anext(aiter(messages))
    except (StopAsyncIteration, TimeoutError):
        raise InvalidInput("the agent said nothing; it must begin with Hello") from None
    if first.WhichOneof("body") != "hello":
        raise InvalidInput("the agent must begin with Hello")
    return first.hello
