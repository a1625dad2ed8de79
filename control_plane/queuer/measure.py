"""How much stands in the queue and for how long, by priority, for `/metrics`.

It counts rows, so it rests for many times as long as the counting took: a queue of millions is looked at seldom, and
costs the database no more than a short one.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from control_plane.clock import Clock, utc_now
from control_plane.queuer.depth import Depth, queue_depth
from control_plane.queuer.keys import PRIORITIES
from control_plane.telemetry.instruments import OLDEST_DUE_SECONDS, SENDS
from db.session import Database

_EVERY_SECONDS = 15.0
#: The rest, in times of the counting.
_REST = 100.0


@dataclass(frozen=True, slots=True)
class Measure:
    """Counts and tells."""

    database: Database
    clock: Clock = utc_now

    async def look(self) -> float:
        """Count once, and return the seconds until the next time. Raises one of `DATABASE_AWAY`."""
        started = time.monotonic()
        async with self.database.system() as session:
            depths = await queue_depth(session)
        for number, priority in enumerate(PRIORITIES):
            mine = [depth for depth in depths if depth.priority == number]
            for state, sends in _sums(mine).items():
                SENDS.labels(priority, state).set(sends)
            OLDEST_DUE_SECONDS.labels(priority).set(_age(mine, self.clock()))
        return max(_EVERY_SECONDS, _REST * (time.monotonic() - started))


def _sums(depths: Iterable[Depth]) -> Mapping[str, int]:
    sums = Counter({"waiting": 0, "due": 0, "leased": 0, "dead": 0})
    for depth in depths:
        sums.update(waiting=depth.waiting, due=depth.due, leased=depth.leased, dead=depth.dead)
    return sums


def _age(depths: Iterable[Depth], now: datetime) -> float:
    oldest = min((depth.oldest_due for depth in depths if depth.oldest_due), default=now)
    return max((now - oldest).total_seconds(), 0.0)
