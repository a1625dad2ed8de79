"""The queuer: leases waiting sends in PostgreSQL and writes their envelopes to Redis, round after round.

A round looks for waiting sends, asks Redis how full the servers' streams are, leases what there is room for, and only
then, after the commit, writes the envelopes. So what is leased is always in PostgreSQL, and is written again under the
same lease when Redis loses it (refill.py); a lease that runs out without word from the server is taken back. After a
full batch more is waiting: it is written while the next is leased.

Several queuers may run side by side; they meet only in the row locks of claim.sql. A round is started by NOTIFY and,
since a hint can be lost, by the clock. When PostgreSQL or Redis is away a round fails as a whole and is begun again a
moment later; nothing is leased before Redis has answered, and nothing while it refuses.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from control_plane.clock import Clock, utc_now
from control_plane.queuer.access import revoke_others
from control_plane.queuer.allot import Line, allot, most_bytes
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.measure import Measure
from control_plane.queuer.refill import Refill
from control_plane.queuer.repeat import Attempts, repeat
from control_plane.queuer.statements import (
    CLOCK_TOLERANCE_SECONDS,
    claim,
    heavy_lines,
    reclaim,
    servers,
    servers_with_expired_leases,
    waiting_lines,
)
from control_plane.queuer.streams import QUEUE_AWAY, Depths, gone_before, look, write
from control_plane.queuer.sweep import Sweep
from control_plane.queuer.traced import trace_leases, trace_writes
from control_plane.telemetry.instruments import CLAIMED, LEASES_EXPIRED, PUBLISHED, REFUSED, ROUND_SECONDS
from db.notifications import listen
from db.session import Database

#: Notified by whoever accepts a send.
CHANNEL = "sends_ready"

#: Sends leased in one round; more gain nothing.
_BATCH = 1000
_POLL_SECONDS = 1.0
#: The first wait for agents to make room in full streams; it doubles up to the poll.
_FULL_SECONDS = 0.02
_RECLAIM_SECONDS = 5.0
_REVOKE_SECONDS = 10.0
#: A Redis that hangs must not keep leases from being taken back.
_REDIS_SECONDS = 2.0

#: Bytes of large messages in one server's streams, unless the settings say otherwise.
STREAM_BYTES = 64 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator may set (control_plane/settings.py)."""

    lease_seconds: int
    lease_tolerance_seconds: int
    stream_depth: int
    clock_tolerance_seconds: int = CLOCK_TOLERANCE_SECONDS
    stream_bytes: int = STREAM_BYTES


@dataclass(slots=True)
class Queuer:
    """One queuer."""

    database: Database
    redis: Redis
    limits: Limits
    clock: Clock = utc_now
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _full_pause: float = _FULL_SECONDS
    #: Leased and committed, and not known to be in Redis.
    _unwritten: list[LeasedSend] = field(default_factory=list)
    #: The last attempt to write failed.
    _is_refused: bool = False

    async def run(self) -> None:
        """Work until `stop`; the round in hand is finished."""
        refill = Refill(self.database, self.redis)
        sweep = Sweep(self.database, self.limits.clock_tolerance_seconds)
        measure = Measure(self.database)
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(listen(self.database, (CHANNEL,), lambda _payload: self._woken.set())),
                group.create_task(repeat("refilling", refill.look_at_all)),
                group.create_task(repeat("taking back leases", self.take_back)),
                group.create_task(repeat("revoking access", self.revoke)),
                group.create_task(repeat("sweeping", sweep.look_at_all)),
                group.create_task(repeat("measuring", measure.look)),
            ]
            await self._rounds()
            for task in beside:
                task.cancel()

    def stop(self) -> None:
        """Let `run` return after the round in hand."""
        self._stopping = True
        self._woken.set()

    async def round(self) -> float:
        """Lease and write once; return the seconds until the next round unless it is woken."""
        if self._is_refused:
            await self._write()
        lines = await waiting_lines(self.database, self.limits.clock_tolerance_seconds)
        depths = await look(self.redis, sorted({line.vps_id for line in lines}))
        whole = [line for line in lines if depths[line.vps_id].whole]
        heavy = await heavy_lines(self.database, most_bytes(whole, self.limits.stream_bytes)) if whole else set()
        ready = [line for line in whole if line not in heavy]
        rooms = allot(ready, self._lengths(depths), self.limits.stream_depth, _BATCH)
        leased = await self._lease(rooms)
        if leased < _BATCH:
            await self._write()
        return self._pause(leased=leased, is_full=len(rooms) < len(lines))

    async def take_back(self) -> float:
        """Take back leases that ran out, and return the seconds until the next time."""
        tolerance = self.limits.lease_tolerance_seconds
        expired = await servers_with_expired_leases(self.database, tolerance)
        if not expired:
            return _RECLAIM_SECONDS
        count = await reclaim(self.database, tolerance, await self._gone_before(expired))
        if count:
            LEASES_EXPIRED.inc(count)
            _log.warning("took back %d leases that ran out", count)
            self._woken.set()
        return _RECLAIM_SECONDS

    async def revoke(self) -> float:
        """Take the queue away from servers that are gone or banned, and return the seconds until the next time."""
        await revoke_others(self.redis, partial(servers, self.database))
        return _REVOKE_SECONDS

    async def _lease(self, rooms: Mapping[Line, int]) -> int:
        """Lease what there is room for, write what was leased before meanwhile, and return how many were leased."""
        began_ns = time.time_ns()
        writing = asyncio.create_task(self._write())
        try:
            leased = await self._claim(rooms) if rooms else []
        finally:
            # Neither leaves the other half-way.
            await asyncio.gather(writing, return_exceptions=True)
        trace_leases(leased, began_ns)
        self._unwritten += leased
        CLAIMED.inc(len(leased))
        await writing
        return len(leased)

    async def _claim(self, rooms: Mapping[Line, int]) -> list[LeasedSend]:
        limits = self.limits
        return await claim(self.database, rooms, limits.lease_seconds, limits.clock_tolerance_seconds)

    def _lengths(self, depths: Mapping[uuid.UUID, Depths]) -> dict[uuid.UUID, Sequence[int]]:
        """Return how long the streams will be once everything in hand is written."""
        in_hand = Counter((send.vps_id, send.priority) for send in self._unwritten)
        return {
            vps_id: [length + in_hand[vps_id, priority] for priority, length in enumerate(depth.lengths)]
            for vps_id, depth in depths.items()
        }

    async def _gone_before(self, vps_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[str, ...]]:
        """Return what the servers have taken from their streams, as far as Redis can tell at once."""
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                return await gone_before(self.redis, vps_ids)
        except QUEUE_AWAY:
            return {}

    async def _rounds(self) -> None:
        attempts = Attempts("queueing")
        while not self._stopping:
            self._woken.clear()
            with ROUND_SECONDS.time():
                pause = await attempts.attempt(self.round)
            if pause and not self._stopping:
                await self._rest(pause)
        await attempts.attempt(self._write)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def _write(self) -> float:
        """Write what is leased and not written; raise when Redis does not take all of it."""
        now = self.clock()
        due = [send for send in self._unwritten if send.lease_deadline > now]
        self._is_refused = True
        began_ns = time.time_ns()
        self._unwritten = await write(self.redis, due)
        trace_writes(due, self._unwritten, began_ns)
        PUBLISHED.inc(len(due) - len(self._unwritten))
        REFUSED.inc(len(self._unwritten))
        if self._unwritten:
            raise OutOfMemoryError("Redis refuses envelopes")
        self._is_refused = False
        return 0.0

    def _pause(self, *, leased: int, is_full: bool) -> float:
        if leased:
            self._full_pause = _FULL_SECONDS
            return 0.0
        if not is_full:
            return _POLL_SECONDS
        pause, self._full_pause = self._full_pause, min(2 * self._full_pause, _POLL_SECONDS)
        return pause
