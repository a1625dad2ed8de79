"""Takes envelopes from this server's Redis streams into the journal, and only then out of Redis.

Each stream has a reader of its own, so that a full hand of one priority never holds up another. A reader first reads
again what it was given and did not acknowledge, then what is new. Redis may lose everything at any moment: the queuer
writes envelopes again, and the journal knows those that came before.

SECURITY: as the ACL user of this server, over TLS with the control plane's own certificate authority.
DIAGNOSTICS: `redis_connected` in the health report; the log says why when it is false.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from agent.journal import Arrival, Journal, Malformed, NowMs, Taken
from agent.relay.delays import delay_after
from agent.relay.envelopes import NotAnEnvelope, read_entry
from agent.relay.hand import Hand, Send
from agent.relay.patience import persist
from agent.relay.priorities import PRIORITIES, STREAMS
from agent.relay.queue_connection import QueueAway, QueueConnection, QueueError, QueueRefused, connected
from agent.relay.race import race
from agent.uplink.latest import Latest
from protos.agent.v1.link_pb2 import QueueAccess

GROUP = "agent"
CONSUMER = "agent"
#: Seconds that one read waits for something new.
_BLOCK = 5.0
#: Seconds between looks for a consumer group that the queuer has not made (again) yet.
_GROUP_PAUSE = 0.5
#: Seconds after which credentials that were refused are tried again, should no new ones come.
_ACCESS_PAUSE = 10.0
#: Seconds between looks for space on a full disk.
_SPACE_PAUSE = 1.0

_log = logging.getLogger(__name__)

#: Entries of a stream: id and fields; no fields when the entry was deleted meanwhile.
Entries = Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]


class Taker:
    """Fills `hand`, as far as it has room, with what the streams have."""

    def __init__(
        self,
        journal: Journal,
        hand: Hand,
        access: Latest[QueueAccess],
        request_access: Callable[[], None],
        now_ms: NowMs,
    ) -> None:
        self._journal = journal
        self._hand = hand
        self._access = access
        self._request_access = request_access
        self._now_ms = now_ms
        self.connected = False

    async def run(self) -> None:
        """Take until cancelled, under whatever access is the latest."""
        failures = 0
        while True:
            access = self._access.get() or await self._access.changed()
            try:
                await self._take_as(access)
            except QueueRefused as error:
                _log.warning("the queue refuses this server: %s", error)
                self.connected = False
                self._request_access()
                await self._another_access(access)
            except (QueueAway, QueueError) as error:
                _log.warning("the queue is away: %s", error)
                failures = 1 if self.connected else failures + 1
                self.connected = False
                await asyncio.sleep(delay_after(failures))

    async def _take_as(self, access: QueueAccess) -> None:
        """Take until the queue fails or another access has come."""
        readers = [self._read_stream(access, priority) for priority in PRIORITIES]
        await race(self._access_replaced(access), *readers)

    async def _access_replaced(self, access: QueueAccess) -> None:
        while self._access.get() is access:
            await self._access.changed()

    async def _another_access(self, access: QueueAccess) -> None:
        try:
            async with asyncio.timeout(_ACCESS_PAUSE):
                await self._access_replaced(access)
        except TimeoutError:
            return

    async def _read_stream(self, access: QueueAccess, priority: int) -> None:
        stream = f"{access.key_prefix}:{STREAMS[priority]}"
        again = True
        async with connected(access) as connection:
            while True:
                room = await self._hand.room(priority)
                await self._disk_has_space()
                entries = await _read(connection, stream, room, again=again)
                self.connected = True
                if entries is None:
                    again = True
                    await asyncio.sleep(_GROUP_PAUSE)
                    continue
                again = again and bool(entries)
                if entries:
                    await self._disk_has_space()
                    # Whole, even when access is replaced meanwhile: what the journal has, the hand must have.
                    await asyncio.shield(asyncio.ensure_future(self._keep(stream, priority, entries)))
                    await _remove(connection, stream, entries)

    async def _disk_has_space(self) -> None:
        """Wait while what is on the disk must be enough: what waits in the queue is safe there."""
        told = False
        while self._journal.is_short_of_space:
            if not told:
                _log.error("nothing more is taken: the journal's disk has too little space left")
                told = True
            await asyncio.sleep(_SPACE_PAUSE)

    async def _keep(self, stream: str, priority: int, entries: Entries) -> None:
        taken: list[Taken] = []
        for entry_id, fields in entries:
            try:
                if fields is not None:
                    taken.append(Taken(read_entry(fields), priority))
            except NotAnEnvelope as fault:
                await self._set_aside(stream, entry_id, fields or {}, str(fault))
        now_ms = self._now_ms()
        deadlines = [self._journal.boot.deadline(each.envelope.lease_deadline_ms, now_ms) for each in taken]
        arrivals = await persist(partial(self._journal.take, taken))
        for each, arrival, deadline in zip(taken, arrivals, deadlines, strict=True):
            if arrival is Arrival.TAKE:
                send = Send(each.envelope, priority, deadline)
                self._hand.hold(send)
                self._hand.offer(send)
            elif arrival in {Arrival.REPLACE, Arrival.ADOPT}:
                self._hand.renew(each.envelope, deadline)

    async def _set_aside(self, stream: str, entry_id: bytes, fields: Mapping[bytes, bytes], reason: str) -> None:
        _log.error("set aside entry %s of %s: %s", entry_id.decode(), stream, reason)
        content = b"\n".join(name + b"=" + value for name, value in fields.items())
        await persist(partial(self._journal.set_aside, Malformed(stream, entry_id.decode(), reason, content)))


async def _read(connection: QueueConnection, stream: str, count: int, *, again: bool) -> Entries | None:
    """Return entries: those not acknowledged, or new ones; None when there is no group to read as."""
    start, block = ("0", 0.0) if again else (">", _BLOCK)
    command: list[Any] = ["XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", count]
    if block:
        command += ["BLOCK", int(block * 1000)]
    try:
        (answer,) = await connection.call((*command, "STREAMS", stream, start), waiting=block)
    except QueueError as error:
        # Redis was flushed, or is new; the queuer makes the group. A stream that goes away under a reader is told
        # in other words.
        if str(error).startswith(("NOGROUP", "UNBLOCKED")):
            return None
        raise
    return [(entry_id, _fields(values)) for entry_id, values in answer[0][1]] if answer else []


def _fields(values: Sequence[bytes] | None) -> dict[bytes, bytes] | None:
    """Return an entry's fields: Redis tells them as a list of names and values by turns."""
    return None if values is None else dict(zip(values[::2], values[1::2], strict=True))


async def _remove(connection: QueueConnection, stream: str, entries: Entries) -> None:
    """Tell Redis to forget what the journal has."""
    ids = [entry_id for entry_id, _ in entries]
    await connection.call(("XACK", stream, GROUP, *ids), ("XDEL", stream, *ids))
