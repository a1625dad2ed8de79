"""Follows Postfix's log and tells the journal what it says about our sends.

The place in the log is kept in the transaction that applies what was read up to there, so a restart neither loses nor
repeats a line. Whoever needs to know how far the log has been read has Postfix log a marker and waits for it
(`Journal.expect_marker`); recovery decides nothing before that.

Polls: often while something is on its way through Postfix, seldom at rest. A missing or unreadable log is waited for.

SECURITY: remote servers write the text of their replies into the log; see `parse` for why that can forge nothing.
DIAGNOSTICS: `malformed_log_lines` in the health report counts lines cut by a crash; each is also logged, shortened.
BUGS: a log that is compressed at once by rotation, while the agent is down, is a hole; sends cut at that time become
uncertain.
"""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from agent.journal import Journal, JournalUnavailable, NowMs, wall_ms
from agent.journal.facts import Fact, LogCursor
from agent.maillog.parse import MalformedLine, parse_line
from agent.maillog.reader import Chunk, LogReader
from agent.maillog.sessions import Sessions

#: Seconds between two looks while sends are on their way; the most that this adds to knowing an outcome.
POLL = 0.05
#: The same at rest: what is deferred, or came from elsewhere, can wait a little.
_POLL_AT_REST = 0.5
#: Seconds after the last submission or word of ours for which outcomes are looked out for.
_LOOK_OUT = 5.0
#: Looks without a log before that is said, again and again.
_LOOKS_BEFORE_WARNING = 120
#: Bytes without anything of ours after which the place is kept all the same.
_KEEP_PLACE_AFTER = 4 * 1024 * 1024
#: Seconds to wait when the journal cannot write.
_JOURNAL_PAUSE = 1.0
#: Characters of a malformed line that are logged.
_SHOWN = 200

_log = logging.getLogger(__name__)


class MailLog:
    """The mail log at `path`, as a source of facts for the journal."""

    def __init__(self, journal: Journal, path: Path, now_ms: NowMs = wall_ms) -> None:
        self._journal = journal
        self._path = path
        self._now_ms = now_ms
        self._reader = LogReader(path)
        self._sessions = Sessions()
        self._unkept = 0
        self._rest_from = 0.0

    async def run(self) -> None:
        """Follow the log until cancelled."""
        try:
            await self._resume()
            looks = 0
            while True:
                chunk = self._reader.read()
                if chunk is not None:
                    await self._hear(chunk)
                    # A long log without a word of ours must not keep everything else from running.
                    await asyncio.sleep(0)
                    continue
                looks = self._count_looks(looks)
                await self._pause()
        finally:
            self._reader.close()

    async def _resume(self) -> None:
        cursor = await self._journal.log_cursor()
        if cursor is not None:
            self._sessions = Sessions.restore(cursor.memory)
            self._reader.resume(cursor)

    async def _pause(self) -> None:
        """Wait until the next look; a submission ends the rest."""
        if time.monotonic() < self._rest_from:
            await asyncio.sleep(POLL)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_AT_REST):
                await self._journal.log_awaited.wait()
        if self._journal.log_awaited.is_set():
            self._journal.log_awaited.clear()
            self._rest_from = time.monotonic() + _LOOK_OUT

    def _count_looks(self, looks: int) -> int:
        if self._reader.is_open:
            return 0
        if looks % _LOOKS_BEFORE_WARNING == _LOOKS_BEFORE_WARNING - 1:
            _log.warning("the mail log %s is missing or cannot be read", self._path)
        return looks + 1

    async def _hear(self, chunk: Chunk) -> None:
        facts, malformed = self._read_lines(chunk)
        self._unkept += sum(map(len, chunk.lines))
        if facts:
            self._rest_from = time.monotonic() + _LOOK_OUT
        if facts or malformed or chunk.hole or self._unkept > _KEEP_PLACE_AFTER:
            cursor = LogCursor(chunk.inode, chunk.offset, chunk.tail, self._sessions.memory())
            await self._keep(facts, cursor, malformed, hole=chunk.hole)
            self._unkept = 0

    async def _keep(self, facts: list[Fact], cursor: LogCursor, malformed: int, *, hole: bool) -> None:
        while True:
            try:
                if hole:
                    _log.warning("lines of the mail log may have gone unread")
                    await self._journal.note_log_hole()
                await self._journal.hear(facts, cursor, malformed)
            except JournalUnavailable as error:
                _log.warning("%s; the mail log is read on when it can", error)
                await asyncio.sleep(_JOURNAL_PAUSE)
            else:
                return

    def _read_lines(self, chunk: Chunk) -> tuple[list[Fact], int]:
        facts: list[Fact] = []
        malformed = chunk.cut
        now_ms = self._now_ms()
        for line in chunk.lines:
            try:
                entry = parse_line(line.decode("utf-8", "replace"), now_ms)
            except MalformedLine as error:
                malformed += 1
                _log.warning("set aside a line of the mail log: %.*r", _SHOWN, str(error))
                continue
            fact = self._sessions.join(entry) if entry else None
            if fact is not None:
                facts.append(fact)
        return facts, malformed
