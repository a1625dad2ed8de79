"""`backlog`: what a send costs the queuer while ten thousand, a hundred thousand and a million others wait.

Nobody reads the streams: the queuer leases until they are full, by the shipped depth, and Redis must hold no more of a
large backlog than of a small one. A send costs the CPU time of the queuer and of PostgreSQL's backends that work for
it; wall time would be that of whatever else the machine does.
"""

import time
from pathlib import Path

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
    return f"CPU µs per row, {waiting:,} waiting"


def _memory(waiting: int) -> str:
    return f"Redis MiB, {waiting:,} waiting"


async def _measure_one(fleet: Fleet, waiting: int, result: Rounds) -> None:
    await fleet.only_waiting(waiting, message(_SIZE))
    await whole_streams(fleet)
    queuer = Queuer(fleet.database, fleet.redis, SHIPPED)
    before = _cpu_seconds(fleet)
    for _ in range(_MOST_ROUNDS):
        if await queuer.round():
            break
    seconds = _cpu_seconds(fleet) - before
    leased = fleet.stores.count("SELECT count(*) FROM messages WHERE state = 'queued'")
    result.add(_cost(waiting), seconds / leased * 1e6)
    result.add(_memory(waiting), (await fleet.redis.info("memory"))["used_memory"] / 2**20)


def _cpu_seconds(fleet: Fleet) -> float:
    """Return what this process and its backends have used so far; the kernel counts in ns (proc(5), schedstat)."""
    backends = fleet.stores.numbers("SELECT pid FROM pg_stat_activity WHERE usename = 'penguin_system'")
    nanoseconds = sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in backends)
    return time.process_time() + nanoseconds / 1e9
