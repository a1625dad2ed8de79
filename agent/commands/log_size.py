"""Keeps the mail log from filling the disk: has it rotated once it is large.

By size and not by day: the reader of the log follows from file to file (agent/maillog/reader.py), and what a busy
server keeps is bounded all the same. Nothing is compressed, for the reader may be behind.
"""

import asyncio
import logging
from pathlib import Path

from agent.commands.commands import Deed
from protos.agent.v1.commands_pb2 import Command, CommandResult, RotateMailLog

#: Octets; a message of ours is about one KiB of log.
MOST_BYTES = 64 * 1024 * 1024
_EVERY_SECONDS = 60.0

_log = logging.getLogger(__name__)


class LogSize:
    """Looks at the log at `path`, and has `rotate` done by the root half."""

    def __init__(self, path: Path, rotate: Deed, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._rotate = rotate
        self._most_bytes = most_bytes

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look once; what does not succeed is tried again at the next look."""
        try:
            size = self._path.stat().st_size
        except OSError:
            return
        if size <= self._most_bytes:
            return
        result = await self._rotate(Command(rotate_mail_log=RotateMailLog()))
        if result.outcome != CommandResult.OUTCOME_DONE:
            _log.warning("the mail log has %d octets and was not rotated: %s", size, result.detail)
