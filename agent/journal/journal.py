"""The journal's door: each method is one durable operation, done when it returns."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent.journal import hearing, sends, settling, spool
from agent.journal.clock import BootClock, ClockReading, NowMs, this_boot, wall_ms
from agent.journal.errors import JournalUnavailable
from agent.journal.facts import Fact, LogCursor, Marker, MasterStarted
from agent.journal.records import Counts, InPostfix, Malformed, OpenSend, Refusal, Settled, Taken, TakenAt
from agent.journal.schema import connect
from agent.journal.space import is_short_of_space
from agent.journal.states import Arrival
from agent.journal.writer import Operation, T, Writer
from protos.agent.v1.delivery_pb2 import DeliveryEvent

#: By how much the clocks may differ from one round of housekeeping to the next without one of them having been set.
_DRIFT_MS = 60_000
#: Later than any clock shows.
_NEVER_MS = 2**62


class Journal:
    """What this server has taken, handed to Postfix, heard of it and not yet had confirmed.

    Every method raises JournalUnavailable when nothing was written and it may be tried again (disk full).
    """

    def __init__(
        self, writer: Writer, now_ms: NowMs = wall_ms, boot: BootClock | None = None, directory: Path | None = None
    ) -> None:
        self._writer = writer
        self._directory = directory
        self._failure = ""
        self._now_ms = now_ms
        #: By which leases are held beside the wall clock; of this boot unless told.
        self.boot = boot or this_boot()
        #: Set whenever events may have been added; cleared by whoever drains them.
        self.events_added = asyncio.Event()
        #: Set whenever the mail log is about to say something of ours; cleared by whoever then looks out for it.
        self.log_awaited = asyncio.Event()
        #: Set whenever Postfix's master was heard to have started; cleared by whoever then looks what it still has.
        self.master_started = asyncio.Event()
        self._markers: dict[str, asyncio.Event] = {}
        self._kept_house_at = self._read_clocks()

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Open the journal at `path`, made when it is missing.

        Raises:
            JournalCorrupt: it is damaged, of an unknown version, or open elsewhere.

        """
        return cls(Writer(connect(path)), directory=path.parent)

    def close(self) -> None:
        """Finish what was asked for and close the file. Blocks until done."""
        self._writer.close()

    @property
    def is_short_of_space(self) -> bool:
        """Whether its disk has so little space left that nothing more should be taken."""
        return self._directory is not None and is_short_of_space(self._directory)

    @property
    def fault(self) -> str:
        """Why it takes nothing (more), such as a full disk; empty when all is well."""
        return self._failure or ("its disk has too little space left" if self.is_short_of_space else "")

    # ------------------------------------------------------------ from Redis to Postfix

    async def take(self, taken: Sequence[Taken]) -> list[Arrival]:
        """Journal envelopes that have come from Redis, and say what each was."""
        at = TakenAt(self._now_ms(), self.boot)
        return await self._telling(lambda connection: sends.take_all(connection, taken, at))

    async def set_aside(self, malformed: Malformed) -> None:
        """Keep and count a stream entry that is no envelope."""
        now = self._now_ms()
        await self._write(lambda connection: settling.set_aside(connection, malformed, now))

    async def begin_submission(self, send_id: bytes) -> bool:
        """Mark a send as on its way to Postfix; False when it is not in hand, and then it must not go."""
        now = self._now_ms()
        self.log_awaited.set()
        return await self._write(lambda connection: sends.begin_submission(connection, send_id, now))

    async def take_back(self, send_id: bytes) -> bool:
        """Note that Postfix has nothing of a submission; False when it turned out to have it after all."""
        now = self._now_ms()
        return await self._write(lambda connection: sends.take_back(connection, send_id, now))

    async def relayed(self, send_id: bytes, queue_id: str) -> bool:
        """Note that Postfix accepted the send under this queue id; False when that was known."""
        return (await self.relayed_all([(send_id, queue_id)]))[0]

    async def relayed_all(self, accepted: Sequence[tuple[bytes, str]]) -> list[bool]:
        """Note the same of many: each send's id and queue id."""
        now = self._now_ms()
        return await self._telling(lambda connection: sends.relay_all(connection, accepted, now))

    async def end(self, send_id: bytes, refusal: Refusal) -> bool:
        """End a send that will not be relayed; False when its state does not allow that (any more)."""
        now = self._now_ms()
        return await self._telling(lambda connection: sends.end(connection, send_id, refusal, now))

    # ------------------------------------------------------------ recovery

    async def open_sends(self) -> list[OpenSend]:
        """Return what was in hand when the journal was last closed, high priority first.

        Raises:
            JournalCorrupt: an envelope cannot be read back.

        """
        now = self._now_ms()

        def recover(connection: sqlite3.Connection) -> list[OpenSend]:
            settling.note_start(connection, self.boot.boot_id, now)
            return settling.open_sends(connection, self.boot.boot_id)

        return await self._writer.submit(recover)

    async def note_stop(self) -> None:
        """Note that the agent was told to stop, so that nothing was cut off without warning."""
        await self._write(settling.note_stop)

    async def settle(self, send_ids: Sequence[bytes]) -> list[Settled]:
        """Say what is known of cut submissions; see `settling.settle` for when this may be asked."""
        now = self._now_ms()
        return await self._writer.submit(
            lambda connection: [settling.settle(connection, send_id, now) for send_id in send_ids]
        )

    async def begun_as(self, send_ids: Sequence[bytes]) -> dict[bytes, str]:
        """Return the queue id under which Postfix has begun each of these that are being submitted, where it did."""
        return await self._writer.submit(lambda connection: sends.begun_as(connection, send_ids))

    async def in_postfix(self, silent_ms: int | None, after: int, limit: int) -> list[InPostfix]:
        """Return relayed sends in the order of their rows, from the one after `after` on.

        Only those that have been so for `silent_ms` by the wall clock, unless that is None.
        """
        before = _NEVER_MS if silent_ms is None else self._now_ms() - silent_ms
        return await self._writer.submit(lambda connection: settling.in_postfix(connection, before, after, limit))

    async def relayed_as(self, send_ids: Sequence[bytes]) -> dict[bytes, str]:
        """Return the queue id of each of these that is relayed and not ended."""
        return await self._writer.submit(lambda connection: sends.relayed_as(connection, send_ids))

    async def forget_old(self) -> int:
        """Do one round of housekeeping; returns 0 when nothing is left to do."""
        reading = self._read_clocks()
        leap = self._kept_house_at.leap_to(reading)

        def keep_house(connection: sqlite3.Connection) -> int:
            if leap > _DRIFT_MS:
                settling.allow_for_leap(connection, leap, reading.wall_ms)
            return settling.forget_old(connection, reading.wall_ms)

        changed = await self._telling(keep_house)
        self._kept_house_at = reading
        return changed

    # ------------------------------------------------------------ the mail log

    async def hear(self, facts: Sequence[Fact], cursor: LogCursor, malformed: int = 0) -> None:
        """Apply what the log says and move the cursor past the lines it came from, in one transaction."""
        await self._telling(lambda connection: hearing.hear(connection, facts, cursor, malformed))
        for fact in facts:
            if isinstance(fact, Marker) and fact.token in self._markers:
                self._markers[fact.token].set()
            elif isinstance(fact, MasterStarted):
                self.master_started.set()

    async def log_cursor(self) -> LogCursor | None:
        """Return the place in the log, or None when none was ever read."""
        return await self._writer.submit(hearing.load_cursor)

    async def note_log_hole(self) -> None:
        """Note that lines of the log up to now may never have been read."""
        now = self._now_ms()
        await self._write(lambda connection: hearing.note_hole(connection, now))

    def expect_marker(self, token: str) -> asyncio.Event:
        """Return an event that is set once the log has been heard up to this marker."""
        self.log_awaited.set()
        return self._markers.setdefault(token, asyncio.Event())

    def forget_marker(self, token: str) -> None:
        """Stop expecting a marker."""
        self._markers.pop(token, None)

    # ------------------------------------------------------------ towards the control plane

    async def unconfirmed(self, limit: int) -> list[DeliveryEvent]:
        """Return the oldest events that are not confirmed."""
        return await self._writer.submit(lambda connection: spool.oldest_events(connection, limit))

    async def confirm(self, event_ids: Iterable[bytes], closed_send_ids: Iterable[bytes] = ()) -> None:
        """Forget these events, and note which sends will never be leased again; unknown ids are ignored."""
        ids, closed = list(event_ids), list(closed_send_ids)

        def confirm(connection: sqlite3.Connection) -> None:
            spool.remove_events(connection, ids)
            settling.close(connection, closed)

        await self._write(confirm)

    async def counts(self) -> Counts:
        """Count for the health report."""
        return await self._writer.submit(settling.counts)

    def _read_clocks(self) -> ClockReading:
        return ClockReading(self._now_ms(), self.boot.now_ms())

    async def _telling(self, operation: Operation[T]) -> T:
        """Do what may add events, and wake whoever drains them."""
        result = await self._write(operation)
        self.events_added.set()
        return result

    async def _write(self, operation: Operation[T]) -> T:
        """Do what writes, and remember whether that can be done."""
        try:
            result = await self._writer.submit(operation)
        except JournalUnavailable as error:
            self._failure = str(error)
            raise
        self._failure = ""
        return result
