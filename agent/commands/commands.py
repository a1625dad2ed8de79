"""Performs what the control plane asks of this server, each command once, a few at a time.

Nothing is remembered over a restart: a command that a crash cut off is not begun again, and the control plane calls it
unknown. A command whose time has run out while others were performed is refused, not begun late.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from agent.uplink.command_queue import CommandQueue
from log_lines.lines import about
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.link_pb2 import AgentMessage

#: Performed at one time; those for root wait for each other all the same.
_AT_ONCE = 4

Deed = Callable[[Command], Awaitable[CommandResult]]

_log = logging.getLogger(__name__)


class Commands:
    """Performs what `queue` brings and tells the results; `deeds` maps the name of each known deed to what does it."""

    def __init__(self, queue: CommandQueue, send: Callable[[AgentMessage], None], deeds: Mapping[str, Deed]) -> None:
        self._queue = queue
        self._send = send
        self._deeds = deeds

    async def run(self) -> None:
        """Perform commands for ever."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(_AT_ONCE):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            command, in_time = await self._queue.take()
            with about(request_id=command.request_id or None):
                await self._perform(command, in_time=in_time)

    async def _perform(self, command: Command, *, in_time: bool) -> None:
        kind = command.WhichOneof("deed")
        deed = self._deeds.get(kind) if kind else None
        if deed is None:
            result = _refused(command, "this version of the agent does not know that command")
        elif not in_time:
            result = _refused(command, "its time had run out before it was begun")
        else:
            result = await deed(command)
        _log.info("command %s: %s %s", kind, CommandResult.Outcome.Name(result.outcome).lower(), result.detail)
        self._send(AgentMessage(command_result=result))


def _refused(command: Command, why: str) -> CommandResult:
    return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_REFUSED, detail=why)
