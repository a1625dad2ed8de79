"""Sends values of reports on to a time-series engine, by Prometheus' remote write 1.0 (PENGUIN_REMOTE_WRITE_URL).

Whoever keeps reports offers them here and goes on. What waits is bounded: where the engine is away for longer, the
oldest is dropped. It is asked again, at longer and longer intervals, after what may pass (5xx and 429 by the
specification, and no answer); what it refuses for good is dropped. A process that ends in order sends what waits for
some seconds more, and the rest is lost. All that is lost is counted (`penguin_remote_write_*`).

SECURITY: the URL may hold a password; it is in no line of the log. Labels name servers and no tenants.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import httpx
from sqlalchemy import text

from control_plane.monitoring.metrics import Measured
from control_plane.monitoring.remote_series import Origin, write_request
from control_plane.telemetry.instruments import REMOTE_DROPPED, REMOTE_WAITING, REMOTE_WRITTEN
from db.notifications import DATABASE_AWAY
from db.session import Database

#: Reports that wait at most: half a minute's of ten thousand servers, an hour and more of eighty; some 25 MB.
MOST_WAITING = 20_000
#: Reports in a request, some thirty samples each.
AT_ONCE = 200
#: Seconds for which a request waits to become full.
_GATHER_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_ANSWER_SECONDS = 30.0
#: In which what waits at the end is sent; a process that ends has 20 to 30 in all.
_LAST_SECONDS = 5.0
_LAST_PAUSE_SECONDS = 0.5
_TOO_MANY_REQUESTS = 429
_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "User-Agent": "penguinmails",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

_ORIGINS = text("SELECT id, hostname, provider, region FROM vps_servers WHERE id = ANY(:servers)")

_log = logging.getLogger(__name__)


class RemoteWrite:
    """One for a process; without a URL it does nothing."""

    def __init__(self, database: Database, url: str, most_waiting: int = MOST_WAITING) -> None:
        self._database = database
        self._url = url
        self._waiting: deque[Measured] = deque()
        self._most_waiting = most_waiting
        self._offered = asyncio.Event()
        self._ending = asyncio.Event()
        #: On their way to the engine, and nowhere else.
        self._in_hand: Sequence[Measured] = ()
        self._series: dict[uuid.UUID, Sequence[bytes]] = {}

    def offer(self, rows: Iterable[Measured]) -> None:
        """Have rows sent when that can be, and wait for nothing; where too many wait, the oldest are dropped."""
        if not self._url:
            return
        self._waiting.extend(rows)
        dropped = [self._waiting.popleft() for _ in range(len(self._waiting) - self._most_waiting)]
        if dropped:
            REMOTE_DROPPED.labels("full").inc(sum(row.samples for row in dropped))
        self._offered.set()
        REMOTE_WAITING.set(len(self._waiting))

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send what is offered meanwhile; and when that ends without an error what waits then, for some seconds."""
        task = asyncio.create_task(self._run())
        try:
            yield
            self._ending.set()
            self._offered.set()
            await asyncio.wait({task}, timeout=_LAST_SECONDS)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._give_up()

    async def _run(self) -> None:
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, headers=_HEADERS) as client:
            while self._waiting or not self._ending.is_set():
                await self._offered.wait()
                await self._ends_within(_GATHER_SECONDS)
                self._offered.clear()
                while self._waiting:
                    await self._send_some(client)

    async def _send_some(self, client: httpx.AsyncClient) -> None:
        self._in_hand = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        REMOTE_WAITING.set(len(self._waiting))
        pause = _FIRST_PAUSE_SECONDS
        while not await self._is_settled(client, self._in_hand):
            if await self._ends_within(pause):
                await asyncio.sleep(_LAST_PAUSE_SECONDS)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        self._in_hand = ()

    async def _ends_within(self, seconds: float) -> bool:
        """Wait, and say whether this is to end now: then it is waited for no longer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)
        return self._ending.is_set()

    def _give_up(self) -> None:
        """Count what nobody sends any more."""
        lost = sum(row.samples for row in (*self._in_hand, *self._waiting))
        if lost:
            REMOTE_DROPPED.labels("ended").inc(lost)
            _log.warning("the process ends: %d values of reports are lost", lost)

    async def _is_settled(self, client: httpx.AsyncClient, rows: Sequence[Measured]) -> bool:
        """Send them; say whether nothing is to be tried again."""
        try:
            known = await self._known(rows)
            samples = sum(row.samples for row in known)
            body = await asyncio.to_thread(write_request, known, self._series)
            answer = await client.post(self._url, content=body)
        except (httpx.TransportError, *DATABASE_AWAY) as error:
            _log.warning("values of reports wait: %s", type(error).__name__)
            return False
        if answer.is_success:
            REMOTE_WRITTEN.inc(samples)
            return True
        if answer.is_server_error or answer.status_code == _TOO_MANY_REQUESTS:
            _log.warning("values of reports wait: the engine answers %d", answer.status_code)
            return False
        REMOTE_DROPPED.labels("refused").inc(samples)
        _log.error("values of reports are dropped: the engine answers %d: %.200s", answer.status_code, answer.text)
        return True

    async def _known(self, rows: Sequence[Measured]) -> list[Measured]:
        """Return the rows of servers that there are, whose series are known from here on."""
        unknown = {row.vps_id for row in rows} - self._series.keys()
        if unknown:
            async with self._database.system() as session:
                for row in await session.execute(_ORIGINS, {"servers": list(unknown)}):
                    self._series[row.id] = Origin(row.hostname, row.provider, row.region).series()
        return [row for row in rows if row.vps_id in self._series]
