"""One agent's live link: what is to be sent on it, and how it ends."""

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from control_plane.errors import Unavailable
from control_plane.hub.caller import Caller
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
    """Whoever has something for the agent calls `send`; the stream's handler passes it on from `outgoing`."""

    id: uuid.UUID
    caller: Caller
    #: Set when the server's desired state may have changed, or its standing with us.
    look_again: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when there may be commands for the server.
    commands_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    #: By the database's clock; it puts links at several hubs in order.
    opened_at_us: int = 0
    _nonce: bytes | None = None
    _outbox: "asyncio.Queue[HubMessage | _Ahead | _End]" = field(default_factory=asyncio.Queue)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_WAITING))

    @property
    def vps_id(self) -> uuid.UUID:
        """The server at the other end."""
        return self.caller.identity.vps_id

    async def send(self, message: HubMessage) -> None:
        """Leave a message for the agent, waiting while too many wait already."""
        await self._places.acquire()
        self._outbox.put_nowait(message)

    def challenge(self, seconds: float) -> None:
        """Ask who is there, another link having been opened; end this one when nobody answers in time."""
        if self._nonce is None:
            self._nonce = os.urandom(16)
            self._outbox.put_nowait(_Ahead(HubMessage(ping=Ping(nonce=self._nonce))))
            over = Unavailable("the server has opened another link")
            asyncio.get_running_loop().call_later(seconds, self.end, over)

    def is_answer(self, nonce: bytes) -> bool:
        """Return whether this answers the challenge: then two hold a link at the same time."""
        return self._nonce is not None and nonce == self._nonce

    def end(self, error: Exception | None = None) -> None:
        """End the link after what waits was sent, for this reason."""
        self._outbox.put_nowait(_End(error))

    async def outgoing(self) -> AsyncGenerator[HubMessage]:
        """Yield messages until the end; raise its reason."""
        while True:
            message = await self._outbox.get()
            if isinstance(message, _End):
                break
            if isinstance(message, _Ahead):
                yield message.message
                continue
            self._places.release()
            yield message
        if message.error:
            raise message.error

    def watch(self, task: "asyncio.Task[None]") -> None:
        """End the link when a task that works for it is done."""
        if not task.cancelled():
            error = task.exception()
            self.end(error if isinstance(error, Exception) else None)
