"""Reads a piece of the mail log for whoever asked: its last lines, or those after a place named before.

A place is `<inode>-<offset>` of the next byte. Over a rotation the rest of the old file is passed over when it is
compressed already; what is shown is bounded, and never a half line.
"""

import asyncio
import os
import re
from pathlib import Path

from protos.agent.v1.commands_pb2 import Command, CommandResult

MOST_LINES = 1000
#: Octets of log that an answer holds at most.
MOST_BYTES = 256 * 1024
_PLACE = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


class ReadMailLog:
    """The deed `read_mail_log`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self, command: Command) -> CommandResult:
        """Read; a log that is not there yet is empty."""
        deed = command.read_mail_log
        place = _PLACE.fullmatch(deed.after)
        if not 1 <= deed.lines <= MOST_LINES or (deed.after and not place):
            detail = f"lines must be 1 to {MOST_LINES}, and after what an earlier answer gave as its next place"
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_REFUSED, detail=detail)
        after = (int(place[1]), int(place[2])) if place else None
        try:
            output, truncated, next_place = await asyncio.to_thread(self._read, deed.lines, after)
        except OSError as error:
            detail = f"the mail log cannot be read: {error.strerror}"
            return CommandResult(id=command.id, outcome=CommandResult.OUTCOME_FAILED, detail=detail)
        return CommandResult(
            id=command.id,
            outcome=CommandResult.OUTCOME_DONE,
            output=output.decode(errors="replace"),
            truncated=truncated,
            next=next_place,
        )

    def _read(self, lines: int, after: tuple[int, int] | None) -> tuple[bytes, bool, str]:
        """Return the piece, whether more is there on its far side, and the place after it."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return b"", False, ""
        with file:
            status = os.fstat(file.fileno())
            if after is None:
                start = max(0, status.st_size - MOST_BYTES)
                there = _whole_lines(os.pread(file.fileno(), MOST_BYTES, start))
                end = start + len(there)
                kept = b"".join(there.splitlines(keepends=True)[start > 0 :][-lines:])
            else:
                # A file that is another, or shorter than it was, is read from its start.
                start = after[1] if after[0] == status.st_ino and after[1] <= status.st_size else 0
                there = _whole_lines(os.pread(file.fileno(), MOST_BYTES, start))
                kept = b"".join(there.splitlines(keepends=True)[:lines])
                end = start + len(kept)
            return kept, len(kept) < len(there) or (after is None and start > 0), f"{status.st_ino}-{end}"


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]
