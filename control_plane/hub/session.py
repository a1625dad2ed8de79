"""One agent's live link: what is to be sent on it, and how it ends."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from control_plane.errors import Unavailable
from control_plane.hub.caller import Caller
from control_plane.hub.errand import Errand
from protos.agent.v1.link_pb2 import HubMessage, Ping

#: Messages that may wait for an agent that does not read; then whoever has more for it waits too.
_MOST_WAITING = 64


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A message that takes no place: it is sent however many wait."""

    message: HubMessage


@dataclass(slots=True, eq=False)
class Session:
    """Whoever has something for the agent calls `send`; the stream's handler has it written by `pass_on`."""

    id: uuid.UUID
    caller: Caller
    #: Called when the server's desired state may have changed, or its standing with us.
    look_again: Errand = field(default_factory=Errand)
    #: Called when there may be commands for the server.
    commands_waiting: Errand = field(default_factory=Errand)
    #: Called when the agent needs access to its queue.
    queue_access: Errand = field(default_factory=Errand)
    #: By the database's clock, or 0 while it is being opened; it puts links at several hubs in order.
    opened_at_us: int = 0
    _nonce: bytes | None = None
    # An asyncio.Queue, with its four deques, would be a tenth of what the hub holds for a link.
    _outbox: list[HubMessage | _Ahead | _End] = field(default_factory=list)
    _reader: "asyncio.Future[None] | None" = None
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_WAITING))

    @property
    def vps_id(self) -> uuid.UUID:
        """The server at the other end."""
        return self.caller.identity.vps_id

    async def send(self, message: HubMessage) -> None:
        """Leave a message for the agent, waiting while too many wait already."""
        await self._places.acquire()
        self._put(message)

    def challenge(self, seconds: float) -> None:
        """Ask who is there, another link having been opened; end this one when nobody answers in time."""
        if self._nonce is None:
            self._nonce = os.urandom(16)
            self._put(_Ahead(HubMessage(ping=Ping(nonce=self._nonce))))
            over = Unavailable("the server has opened another link")
            asyncio.get_running_loop().call_later(seconds, self.end, over)

    def is_answer(self, nonce: bytes) -> bool:
        """Return whether this answers the challenge: then two hold a link at the same time."""
        return self._nonce is not None and nonce == self._nonce

    def end(self, error: Exception | None = None) -> None:
        """End the link after what waits was sent, for this reason."""
        self._put(_End(error))

    async def pass_on(self, write: Callable[[HubMessage], Awaitable[None]]) -> None:
        """Write each message once there is one, until the end; raise the end's reason."""
        while (message := await self.next_message()) is not None:
            await write(message)
            # Or it is held until the next one, which may be long: a Welcome, or all that a server should be.
            del message

    async def next_message(self) -> HubMessage | None:
        """Return what is to be sent next, once there is something, or None at the end; raise the end's reason."""
        while not self._outbox:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        match self._outbox.pop(0):
            case _End(error):
                if error:
                    raise error
                return None
            case _Ahead(message):
                return message
            case message:
                self._places.release()
                return message

    async def end_errands(self) -> None:
        """Do nothing more that the link called for."""
        await asyncio.gather(self.look_again.end(), self.commands_waiting.end(), self.queue_access.end())

    def watch(self, task: "asyncio.Task[None]") -> None:
        """End the link when a task that works for it is done."""
        if not task.cancelled():
            self.break_off(task.exception())

    def break_off(self, error: BaseException | None) -> None:
        """End the link because of this error, if there is one."""
        self.end(error if isinstance(error, Exception) else None)

    def _put(self, item: HubMessage | _Ahead | _End) -> None:
        self._outbox.append(item)
        if self._reader and not self._reader.done():
            self._reader.set_result(None)
