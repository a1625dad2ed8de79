"""Follows Postfix's log and tells the journal what it says about our sends.

The place in the log is kept in the transaction that applies what was read up to there, so a restart neither loses nor
repeats a line. Whoever needs to know how far the log has been read has Postfix log a marker and waits for it
(`Journal.expect_marker`); recovery decides nothing before that.

Polls: a look at an unchanged log is three system calls. A missing or unreadable log is waited for.

SECURITY: remote servers write the text of their replies into the log; see `parse` for why that can forge nothing.
DIAGNOSTICS: `malformed_log_lines` in the health report counts lines cut by a crash; each is also logged, shortened.
BUGS: a log that is compressed at once by rotation, while the agent is down, is a hole; sends cut at that time become
uncertain.
"""

import asyncio
import logging
from pathlib import Path

from agent.journal import Journal, JournalUnavailable, NowMs, wall_ms
from agent.journal.facts import Fact, LogCursor
from agent.maillog.parse import MalformedLine, parse_line
from agent.maillog.reader import Chunk, LogReader
from agent.maillog.sessions import Sessions

#: Seconds between two looks at the log; the most that this adds to the time in which an outcome is known.
POLL = 0.05
#: Looks without a log before that is said, again and again.
_LOOKS_BEFORE_WARNING = 1200
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
                await asyncio.sleep(POLL)
        finally:
            self._reader.close()

    async def _resume(self) -> None:
        cursor = await self._journal.log_cursor()
        if cursor is not None:
            self._sessions = Sessions.restore(cursor.memory)
            self._reader.resume(cursor)

    def _count_looks(self, looks: int) -> int:
        if self._reader.is_open:
            return 0
        if looks % _LOOKS_BEFORE_WARNING == _LOOKS_BEFORE_WARNING - 1:
            _log.warning("the mail log %s is missing or cannot be read", self._path)
        return looks + 1

    async def _hear(self, chunk: Chunk) -> None:
        facts, malformed = self._read_lines(chunk)
        self._unkept += sum(map(len, chunk.lines))
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
