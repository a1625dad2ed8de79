"""`backlog`: what a send costs the queuer while ten thousand, a hundred thousand and a million others wait.

Nobody reads the streams: the queuer leases until they are full, by the shipped depth, and Redis must hold no more of a
large backlog than of a small one.
"""

import time

from control_plane.queuer.queuer import Queuer
from tests.bench.queue import SHIPPED, whole_streams
from tests.bench.report import Goal, Rounds
from tests.bench.stores import Fleet, running_fleet, running_stores
from tests.bench.text import message

_WAITING = (10_000, 100_000, 1_000_000)
#: Bytes of a message; a million of 5 KB would measure the disk's patience with us.
_SIZE = 512
_MOST_ROUNDS = 50


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    with running_stores() as stores:
        async with running_fleet(stores) as fleet:
            for _ in range(rounds):
                for waiting in _WAITING:
                    await _measure_one(fleet, waiting, result)
    first, last = _WAITING[0], _WAITING[-1]
    result.compare("cost per row, last ÷ first", _cost(last), _cost(first), Goal(1.3, at_most=True))
    result.compare("Redis memory, last ÷ first", _memory(last), _memory(first), Goal(1.1, at_most=True))
    result.notes.append(f"messages of {_SIZE} bytes; ten servers, twenty inboxes; streams of the shipped depth")
    return result


def _cost(waiting: int) -> str:
    return f"µs per row, {waiting:,} waiting"


def _memory(waiting: int) -> str:
    return f"Redis MiB, {waiting:,} waiting"


async def _measure_one(fleet: Fleet, waiting: int, result: Rounds) -> None:
    await fleet.only_waiting(waiting, message(_SIZE))
    await whole_streams(fleet)
    queuer = Queuer(fleet.database, fleet.redis, SHIPPED)
    started = time.perf_counter()
    for _ in range(_MOST_ROUNDS):
        if await queuer.round():
            break
    seconds = time.perf_counter() - started
    leased = fleet.stores.count("SELECT count(*) FROM messages WHERE state = 'queued'")
    result.add(_cost(waiting), seconds / leased * 1e6)
    result.add(_memory(waiting), (await fleet.redis.info("memory"))["used_memory"] / 2**20)
