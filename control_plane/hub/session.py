"""One agent's live link: what is to be sent on it, and how it ends."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from control_plane.hub.caller import Caller
from protos.agent.v1.link_pb2 import HubMessage

#: Messages that may wait for an agent that does not read; then whoever has more for it waits too.
_MOST_WAITING = 64


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


@dataclass(slots=True, eq=False)
class Session:
    """Whoever has something for the agent calls `send`; the stream's handler passes it on from `outgoing`."""

    id: uuid.UUID
    caller: Caller
    #: Set when the server's desired state may have changed, or its standing with us.
    look_again: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when there may be commands for the server.
    commands_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    _outbox: "asyncio.Queue[HubMessage | _End]" = field(default_factory=asyncio.Queue)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_WAITING))

    @property
    def vps_id(self) -> uuid.UUID:
        """The server at the other end."""
        return self.caller.identity.vps_id

    async def send(self, message: HubMessage) -> None:
        """Leave a message for the agent, waiting while too many wait already."""
        await self._places.acquire()
        self._outbox.put_nowait(message)

    def end(self, error: Exception | None = None) -> None:
        """End the link after what waits was sent, for this reason."""
        self._outbox.put_nowait(_End(error))

    async def outgoing(self) -> AsyncGenerator[HubMessage]:
        """Yield messages until the end; raise its reason."""
        while True:
            message = await self._outbox.get()
            if isinstance(message, _End):
                break
            self._places.release()
            yield message
        if message.error:
            raise message.error

    def watch(self, task: "asyncio.Task[None]") -> None:
        """End the link when a task that works for it is done."""
        if not task.cancelled():
            error = task.exception()
            self.end(error if isinstance(error, Exception) else None)
