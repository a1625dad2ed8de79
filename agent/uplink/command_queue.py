"""Commands that came over the link and wait to be performed, each with the time after which it must not be begun."""

import asyncio

from protos.agent.v1.commands_pb2 import Command

#: Commands that may wait; the hub is told at once when there are more.
MOST_WAITING = 32


class CommandQueue:
    """First come, first performed. Times are the event loop's, which no clock that is set back or forth can move."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[Command, float]] = asyncio.Queue(MOST_WAITING)

    def put(self, command: Command) -> bool:
        """Leave the command, unless too many wait; say whether."""
        try:
            self._waiting.put_nowait((command, asyncio.get_running_loop().time() + command.seconds_left))
        except asyncio.QueueFull:
            return False
        return True

    async def take(self) -> tuple[Command, bool]:
        """Wait for the next command, and return it with whether it may still be begun."""
        command, begin_before = await self._waiting.get()
        return command, asyncio.get_running_loop().time() <= begin_before
