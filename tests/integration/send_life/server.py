"""One server of the model: the agent's real journal, and the relay's steps one by one, so that anything may come
between.

The relay itself, with sockets and tasks, is killed between its steps by tests/faults; here its rules meet the control
plane's.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from agent.journal import Arrival, BootClock, InPostfix, Journal, Refusal, SendState, Settled, Taken
from agent.journal.facts import LogCursor
from agent.journal.schema import connect
from agent.journal.writer import Writer
from agent.relay.envelopes import read_entry, refuse
from agent.relay.outcome import Stage, Verdict, judge, refusal
from agent.relay.replies import Reply
from agent.relay.sessions import LEASE_EXPIRED
from agent.relay.vanished import VANISHED
from control_plane.queuer import keys
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from protos.queue.v1.envelope_pb2 import Envelope
from tests.integration.send_life.postfix import Postfix, Treatment

_AT_ONCE = 10
_ALL = 1000


class Phase(Enum):
    """How far the relay is with a send in hand."""

    WAITING = "waiting"
    #: Marked in the journal; its commands are written and its message is not.
    BEGUN = "begun"
    #: Postfix answered, and the answer is not yet in the journal.
    ANSWERED = "answered"
    #: The line was lost while Postfix had the message.
    CUT = "cut"


@dataclass(slots=True)
class Held:
    """A send in hand."""

    envelope: Envelope
    boot_deadline_ms: int | None
    phase: Phase = Phase.WAITING
    reply: Reply | None = None


class Server:
    """An agent that may die at each step, and a Postfix that lives on."""

    def __init__(self, redis: Redis, vps_id: uuid.UUID, path: Path, right_time: Callable[[], datetime]) -> None:
        self._redis = redis
        self.vps_id = vps_id
        self._path = path
        self._right_time = right_time
        #: How far this server's clock is off.
        self.skew_seconds = 0
        self.postfix = Postfix()
        self.hand: dict[bytes, Held] = {}
        #: Every envelope that was ever read here.
        self.seen: list[Envelope] = []
        self._reads_again = True
        self._position = 0
        self._open()

    def now_ms(self) -> int:
        """Return the time by this server's clock."""
        return int(self._right_time().timestamp() * 1000) + self.skew_seconds * 1000

    def close(self) -> None:
        self.journal.close()

    def in_phase(self, phase: Phase) -> list[bytes]:
        """Return the sends that are this far, in one order always."""
        return sorted(send_id for send_id, held in self.hand.items() if held.phase is phase)

    # ------------------------------------------------------------ the relay's steps

    async def take(self, priority: int, *, dies: str = "") -> None:
        """Read a stream into the journal, and out of Redis; the agent may die "early" or "late" on the way."""
        stream = keys.stream(self.vps_id, priority)
        entries = await self._read(stream)
        envelopes = [read_entry(fields) for _, fields in entries if fields is not None]
        self.seen += envelopes
        if dies == "early":
            await self.crash()
            return
        arrivals = await self.journal.take([Taken(envelope, priority) for envelope in envelopes])
        if dies == "late":
            await self.crash()
            return
        for envelope, arrival in zip(envelopes, arrivals, strict=True):
            if arrival is Arrival.TAKE:
                self.hand[envelope.send_id] = Held(envelope, self._boot_deadline(envelope))
            elif arrival in {Arrival.REPLACE, Arrival.ADOPT} and envelope.send_id in self.hand:
                self.hand[envelope.send_id].envelope = envelope
                self.hand[envelope.send_id].boot_deadline_ms = self._boot_deadline(envelope)
        if entries:
            ids = [entry_id for entry_id, _ in entries]
            await self._redis.xack(stream, keys.GROUP, *ids)
            await self._redis.xdel(stream, *ids)
        self._reads_again = self._reads_again and bool(entries)

    async def begin(self, send_id: bytes) -> None:
        """Make a send ready, as `Submitter._prepare` does."""
        held = self.hand[send_id]
        assert refuse(held.envelope) is None
        if self._overdue(held):
            await self._end(send_id, LEASE_EXPIRED)
        elif await self.journal.begin_submission(send_id):
            held.phase = Phase.BEGUN
        else:
            del self.hand[send_id]

    async def hand_over(self, send_id: bytes, treatment: Treatment) -> None:
        """Write the message, as `Submitter._hand_over` does."""
        held = self.hand[send_id]
        if self._overdue(held):
            await self._end(send_id, LEASE_EXPIRED)
            return
        held.reply = self.postfix.receive(send_id, treatment, self.now_ms())
        held.phase = Phase.ANSWERED if held.reply else Phase.CUT

    async def conclude(self, send_id: bytes) -> None:
        """Write down what Postfix answered, as `Submitter._conclude` does."""
        held = self.hand[send_id]
        outcome = judge(Stage.MESSAGE, held.reply)
        match outcome.verdict:
            case Verdict.RELAYED if held.reply and held.reply.queue_id:
                await self.journal.relayed(send_id, held.reply.queue_id)
                del self.hand[send_id]
            case Verdict.SEND_LATER:
                await self._take_back(send_id)
            case _:
                await self._end(send_id, refusal(outcome, held.envelope.recipient))

    async def settle(self, send_id: bytes, *, gives_up: bool) -> None:
        """Settle a cut submission, as `Settler` does: its session is over, and the log has been read beyond."""
        self.postfix.finish_session(send_id, self.now_ms())
        await self.follow_log(len(self.postfix.log))
        [answer] = await self.journal.settle([send_id])
        if answer is Settled.NOT_TAKEN:
            self.hand[send_id].phase = Phase.WAITING
        elif answer is Settled.KNOWN:
            del self.hand[send_id]
        elif answer is Settled.UNKNOWABLE or gives_up:
            await self._end(send_id, Refusal(SendState.UNCERTAIN, "The log does not tell."))

    async def end_overdue(self) -> None:
        """End what waits beyond its lease, as `Relay._end_overdue` does."""
        for send_id in self.in_phase(Phase.WAITING):
            if self._overdue(self.hand[send_id]):
                await self._end(send_id, LEASE_EXPIRED)

    async def look_in_queue(self) -> None:
        """End what Postfix has no longer and its log does not tell of, as `VanishedWatch` does."""
        missing = [each for each in await self.journal.in_postfix(None, 0, _ALL) if self._is_missing(each)]
        await self.follow_log(len(self.postfix.log))
        for send_id in await self.journal.relayed_as([each.send_id for each in missing]):
            await self.journal.end(send_id, VANISHED)

    def _is_missing(self, told: InPostfix) -> bool:
        return told.queue_id not in self.postfix.queue

    async def crash(self) -> None:
        """Die, and start again."""
        self.journal.close()
        self._open()
        self.hand = {}
        self._reads_again = True
        cursor = await self.journal.log_cursor()
        self._position = cursor.offset if cursor else 0
        for found in await self.journal.open_sends():
            phase = Phase.CUT if found.state is SendState.SUBMITTING else Phase.WAITING
            self.hand[found.envelope.send_id] = Held(found.envelope, found.boot_deadline_ms, phase)

    # ------------------------------------------------------------ the log and the link

    async def follow_log(self, lines: int) -> None:
        """Read so many more lines of the mail log."""
        facts = self.postfix.log[self._position : self._position + lines]
        await self.journal.hear(facts, LogCursor(1, self._position + len(facts), b"", "{}"))
        self._position += len(facts)

    async def lose_log(self) -> None:
        """Lose the lines that were not read, and notice."""
        await self.journal.note_log_hole()
        await self.journal.hear([], LogCursor(1, len(self.postfix.log), b"", "{}"))
        self._position = len(self.postfix.log)

    @property
    def unread_lines(self) -> int:
        """How many lines of the log were not read."""
        return len(self.postfix.log) - self._position

    async def unconfirmed(self, limit: int = 500) -> list[DeliveryEvent]:
        """Return what is to be told."""
        return await self.journal.unconfirmed(limit)

    def _open(self) -> None:
        boot = BootClock("boot", lambda: int(self._right_time().timestamp() * 1000))
        self.journal = Journal(Writer(connect(self._path)), self.now_ms, boot)

    async def _read(self, stream: str) -> list[tuple[bytes, Any]]:
        start = "0" if self._reads_again else ">"
        try:
            answer: Any = await self._redis.xreadgroup(keys.GROUP, "agent", {stream: start}, count=_AT_ONCE)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._reads_again = True
            return []
        return [entry for _, batch in answer for entry in batch]

    async def _take_back(self, send_id: bytes) -> None:
        if await self.journal.take_back(send_id):
            self.hand[send_id].phase = Phase.WAITING
        else:
            del self.hand[send_id]

    async def _end(self, send_id: bytes, why: Refusal) -> None:
        await self.journal.end(send_id, why)
        del self.hand[send_id]

    def _overdue(self, held: Held) -> bool:
        by_boot = held.boot_deadline_ms is not None and held.boot_deadline_ms <= self.journal.boot.now_ms()
        return by_boot or held.envelope.lease_deadline_ms <= self.now_ms()

    def _boot_deadline(self, envelope: Envelope) -> int:
        return self.journal.boot.deadline(envelope.lease_deadline_ms, self.now_ms())
