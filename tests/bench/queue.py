"""`queue`: from claim to acknowledged, beside libraries that do the same, and the queuer beside its own claim alone.

Ours is the whole product path of one queuer in one process, checks on (suppressions, daily limits, states, ownership
of rows): lease in PostgreSQL, envelope to Redis, read by ten servers' consumers, acknowledged and deleted. Each peer
works off jobs with the same 5 KB in one process, on the same PostgreSQL or Redis.
"""

import asyncio
import time
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from agent.relay.envelopes import read_entry
from agent.relay.queue_connection import QueueConnection
from control_plane.queuer import keys
from control_plane.queuer.allot import Line
from control_plane.queuer.queuer import Limits, Queuer
from control_plane.queuer.refill import Refill
from control_plane.queuer.statements import claim
from control_plane.settings import Settings
from tests.bench.peers.environments import environment, run_peer
from tests.bench.report import Goal, Rounds
from tests.bench.stores import SERVERS, Fleet, Stores, running_fleet, running_stores
from tests.bench.text import SIZE, message, words

_SENDS = 10_000
#: Jobs of a peer in one round: one to two seconds' worth.
_JOBS = {"procrastinate": 1000, "celery": 2000, "taskiq": 4000, "pgqueuer": 5000}
_GOALS = {"procrastinate": 20.0, "celery": 12.0, "taskiq": 5.0, "pgqueuer": 3.0}
#: What one read takes at most, as the agent's (agent/relay/hand.py).
_READ = 100
_BATCH = 1000
_BLOCK_MS = 100
_SECONDS = 60.0

#: What the queuer is started with unless an operator wishes otherwise.
SHIPPED = Limits(
    lease_seconds=Settings.model_fields["lease_seconds"].default,
    lease_tolerance_seconds=Settings.model_fields["lease_tolerance_seconds"].default,
    stream_depth=Settings.model_fields["stream_depth"].default,
)


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    for peer in _JOBS:
        environment(peer)
    with running_stores() as stores:
        async with running_fleet(stores) as fleet:
            for _ in range(rounds):
                await _one_round(fleet, result)
    for peer, goal in _GOALS.items():
        result.compare(f"path ÷ {peer}", "path, sends/s", f"{peer}, jobs/s", Goal(goal))
    result.compare("queuer ÷ claim only", "queuer, sends/s", "claim only, sends/s", Goal(0.5))
    result.notes.append("peers: one worker process each; pgqueuer with batch 10, taskiq on streams, celery solo")
    return result


async def _one_round(fleet: Fleet, result: Rounds) -> None:
    payload = message(SIZE)
    for name, run in (("path", path), ("queuer", _queuer_only), ("claim only", _claim_only)):
        await fleet.only_waiting(_SENDS, payload)
        result.add(f"{name}, sends/s", _SENDS / await run(fleet, _SENDS))
    await fleet.redis.flushall()
    for peer, count in _JOBS.items():
        rate = await asyncio.to_thread(_peer, fleet.stores, peer, count)
        result.add(f"{peer}, jobs/s", rate)
        await fleet.redis.flushall()


async def path(fleet: Fleet, count: int, limits: Limits = SHIPPED) -> float:
    """Return the seconds until so many sends are leased, written, read, acknowledged and deleted."""
    await whole_streams(fleet)
    queuer = Queuer(fleet.database, fleet.redis, limits)
    left, url = _Countdown(count), fleet.stores.redis_server.url
    consumers = [asyncio.create_task(_consume(url, keys.stream(vps, 1), left)) for vps in fleet.servers]
    started = time.perf_counter()
    running = asyncio.create_task(queuer.run())
    try:
        async with asyncio.timeout(_SECONDS):
            await left.done.wait()
        return time.perf_counter() - started
    finally:
        queuer.stop()
        left.done.set()
        await asyncio.gather(running, *consumers)


async def _queuer_only(fleet: Fleet, count: int) -> float:
    """The same without readers, into streams that hold all."""
    await whole_streams(fleet)
    queuer = Queuer(fleet.database, fleet.redis, replace(SHIPPED, stream_depth=2 * count))
    started = time.perf_counter()
    while not await queuer.round():
        if time.perf_counter() - started > _SECONDS:
            raise TimeoutError("the queuer does not come to an end")
    return time.perf_counter() - started


async def _claim_only(fleet: Fleet, count: int) -> float:
    rooms = {Line(vps, 1): _BATCH // SERVERS for vps in fleet.servers}
    started = time.perf_counter()
    claimed = 0
    while leased := await claim(fleet.database, rooms, SHIPPED.lease_seconds):
        claimed += len(leased)
    if claimed != count:
        raise RuntimeError(f"claimed {claimed} of {count}")
    return time.perf_counter() - started


async def whole_streams(fleet: Fleet) -> None:
    """Make the servers' streams, as the queuer does when it first sees them."""
    refill = Refill(fleet.database, fleet.redis)
    for vps_id in fleet.servers:
        await refill.fill(vps_id)


class _Countdown:
    def __init__(self, count: int) -> None:
        self._left = count
        self.done = asyncio.Event()

    def take(self, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            self.done.set()


async def _consume(url: str, stream: str, left: _Countdown) -> None:
    """Read as the agent reads, with its client and its parser, until all is done."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_unix_connection(unquote(place.path))
    connection = QueueConnection(reader, writer)
    await connection.call(("AUTH", place.username, place.password))
    read = ("XREADGROUP", "GROUP", keys.GROUP, "agent", "COUNT", _READ, "BLOCK", _BLOCK_MS, "STREAMS", stream, ">")
    while not left.done.is_set():
        (answer,) = await connection.call(read, waiting=_BLOCK_MS / 1000)
        entries = answer[0][1] if answer else []
        for _, fields in entries:
            read_entry({fields[0]: fields[1]})
        if ids := [entry_id for entry_id, _ in entries]:
            await connection.call(("XACK", stream, keys.GROUP, *ids), ("XDEL", stream, *ids))
            left.take(len(ids))
    writer.close()


def _peer(stores: Stores, peer: str, count: int) -> float:
    order = {"count": count, "payload": words(SIZE), "batch": 10}
    if peer in {"procrastinate", "pgqueuer"}:
        order["url"] = stores.new_database(f"peer_{peer}")
    else:
        url = stores.redis_server.url
        order["url"] = url.replace("unix://default", "redis+socket://") if peer == "celery" else url
    return float(run_peer(peer, f"{peer}_worker.py", order)["jobs_per_second"])
