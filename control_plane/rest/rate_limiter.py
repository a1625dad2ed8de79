"""Count requests against limits that all processes share, without a round trip for a request.

Each process counts by itself and decides at once. What it counted goes to Redis in the background, a fiftieth of a
limit at a time, and comes back as the count of all processes. So n processes together may let through n fiftieths more
than the limit, no request waits for Redis, and a process that cannot reach Redis goes on with what it counts itself:
reads and writes stay open, and the plan's limits, which are PostgreSQL's, hold anyway.

Letting people in is different: each attempt asks Redis, and when Redis is away nobody gets in (`take_strictly`).
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from control_plane.errors import TooManyRequests, Unavailable
from control_plane.rest.rates import WINDOW_SECONDS

_log = logging.getLogger(__name__)

#: How the names of counts begin in Redis.
_PREFIX = "rest:limits"
#: A count is told to Redis when it has grown by the limit's part of this.
_PARTS = 50
_SETTLE_SECONDS = 0.25
#: Without a reply for so long, Redis is away.
_ANSWER_SECONDS = 1.0
#: Names counted in one minute; those beyond share one count, so that many addresses cannot fill the memory.
_MOST_COUNTS = 100_000
_AWAY = (RedisError, OSError)

#: A limit and whose count it is; limits of different kinds have names of different kinds.
Limited = tuple[RateLimitItem, str]


@dataclass(slots=True)
class _Count:
    """Requests of this minute: by all processes as last told, and here since."""

    item: RateLimitItem
    told: int = 0
    here: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """The tightest of several limits: which of them it is, what it leaves, and in how many seconds it begins anew."""

    place: int
    remaining: int
    reset_seconds: int
    exceeded: bool


class RateLimiter:
    """One for a process. Without a URL nothing is shared, and `take_strictly` refuses."""

    def __init__(self, redis_url: str = "", now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._pool = _pool(redis_url) if redis_url else None
        self._storage = None if self._pool is None else _storage(self._pool)
        self._window = 0
        self._counts: dict[str, _Count] = {}
        self._away = False

    def take(self, limited: Iterable[Limited]) -> Standing:
        """Count one request against several limits, one at least, unless one of them is reached."""
        now = self._now()
        self._turn(int(now // WINDOW_SECONDS))
        counts = [(item.amount, self._count(item, whose)) for item, whose in limited]
        left = [(amount - count.told - count.here - 1) / amount for amount, count in counts]
        place = left.index(min(left))
        amount, tightest = counts[place]
        exceeded = left[place] < 0
        if not exceeded:
            for _, count in counts:
                count.here += 1
        remaining = max(0, amount - tightest.told - tightest.here)
        return Standing(place, remaining, WINDOW_SECONDS - int(now % WINDOW_SECONDS), exceeded)

    async def take_strictly(self, item: RateLimitItem, *whose: str) -> None:
        """Count one attempt in Redis; raise `TooManyRequests`, and `Unavailable` when Redis cannot be asked.

        Whose it is is written as a hash: names of accounts do not stand in Redis.
        """
        if self._storage is None:
            raise Unavailable("Attempts cannot be counted now, so none is let in; try again.")
        name = hashlib.sha256("\n".join(whose).encode()).hexdigest()
        try:
            admitted = await SlidingWindowCounterRateLimiter(self._storage).hit(item, name)
        except _AWAY:
            raise Unavailable("Attempts cannot be counted now, so none is let in; try again.") from None
        if not admitted:
            raise TooManyRequests("There were too many attempts; wait before the next.", item.get_expiry())

    async def settle(self) -> None:
        """Tell Redis what has grown enough here, and learn what all processes counted."""
        if self._storage is None:
            return
        window = self._window
        due = [(whose, count) for whose, count in self._counts.items() if count.here * _PARTS >= count.item.amount]
        for whose, count in due:
            amount = count.here
            key = f"{count.item.key_for(whose)}/{window}"
            count.told = await self._storage.incr(key, 2 * WINDOW_SECONDS, amount)
            count.here -= amount

    async def run(self) -> None:
        """Settle again and again until cancelled; say once when Redis is away and when it is back."""
        while True:
            await asyncio.sleep(_SETTLE_SECONDS)
            try:
                await self.settle()
            except _AWAY as error:
                if not self._away:
                    _log.warning("Redis is away (%s): each process holds the limits by itself", type(error).__name__)
                self._away = True
            else:
                if self._away:
                    _log.warning("Redis is back: limits are shared again")
                self._away = False

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.aclose()

    def _turn(self, window: int) -> None:
        if window != self._window:
            self._window = window
            self._counts = {}

    def _count(self, item: RateLimitItem, whose: str) -> _Count:
        count = self._counts.get(whose)
        if count is None:
            known = whose if len(self._counts) < _MOST_COUNTS else f"others of {item.namespace} {item.amount}"
            count = self._counts.setdefault(known, _Count(item))
        return count


def _pool(url: str) -> ConnectionPool:
    return ConnectionPool.from_url(
        url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
    )


def _storage(pool: ConnectionPool) -> RedisStorage:
    return RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=_PREFIX,
        connection_pool=pool,  # type: ignore[arg-type]  # documented; the library's types leave it out
    )
