"""What waits to be sent: one slot for each kind of message, so that it cannot grow.

Of a health report, a configuration result or a request for queue access only the newest matters, and of delivery
events one batch is on its way at a time. A newer message takes the place of an older one that was not yet sent. Results
of commands each matter, and have a slot for each command: commands in hand are few (commands/commands.py).
"""

import asyncio

from protos.agent.v1.link_pb2 import AgentMessage


class Outbound:
    """Messages in the order in which their slots were first filled."""

    def __init__(self) -> None:
        self._slots: dict[str, AgentMessage] = {}
        self._filled = asyncio.Event()

    def put(self, message: AgentMessage) -> None:
        """Leave a message to be sent, in the place of an older one of its kind."""
        self._slots[_slot(message)] = message
        self._filled.set()

    async def take(self) -> AgentMessage:
        """Wait for a message and take it out."""
        while not self._slots:
            self._filled.clear()
            await self._filled.wait()
        return self._slots.pop(next(iter(self._slots)))

    def drop(self, kind: str) -> None:
        """Forget a waiting message of this kind, named as in the protocol."""
        self._slots.pop(kind, None)


def _slot(message: AgentMessage) -> str:
    kind = message.WhichOneof("body")
    if kind is None:
        raise ValueError("a message without a body cannot be sent")
    return f"{kind} {message.command_result.id.hex()}" if kind == "command_result" else kind
