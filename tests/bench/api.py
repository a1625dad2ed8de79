"""`api`: what each operation of the tenants' door takes with a platform's rows behind it, beside a handler that does
nothing in the same application, and what lists and searches take beside a row by its primary key.

Two api processes, as deployed, and fifty clients of fifty tenants on the same cores. What a request takes is measured
while each of them asks twice a second, a hundred requests a second in all; and "busy" while all ask without a pause,
which tells what a request costs: the machine does nothing but this then, and the clients wait for each other. What an
operation is held against is measured right before it. Each is asked two hundred times before that, untimed: what a
process's first requests take, while connections are opened and statements planned, is not told here.
"""

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg

from control_plane.embedded.postgres import OWNER
from control_plane.identity.api_keys import create_api_key
from db.ids import first_uuid7_of
from db.session import Database
from tests.bench.api_operations import (
    LISTS,
    NOTHING,
    PRIMARY_KEY,
    READS,
    WRITES,
    Caller,
    id_of,
    idling,
    reading,
    writing,
)
from tests.bench.api_process import running_api
from tests.bench.api_rows import make_rows
from tests.bench.http_clients import Asking, Client, p95_of, p95_once
from tests.bench.report import Goal, Rounds
from tests.bench.stores import Stores, running_stores

_PROCESSES = 2
_CLIENTS = 50
#: Requests of each client for one figure.
_TIMES = 4
#: Seconds between those of one client.
_PAUSE = 0.5
_BUSY = ", busy"
_KNOWN = 20
_FIND = """
SELECT found.* FROM unnest(%(bounds)s::uuid[]) bound
CROSS JOIN LATERAL (
    SELECT id, recipient FROM messages WHERE tenant_id = %(tenant)s AND id > bound ORDER BY id LIMIT 1
) found
"""


async def measure(rounds: int, messages: int) -> Rounds:
    """Return the figures of so many rounds; one takes seven minutes."""
    result = Rounds()
    with running_stores() as stores:
        print(f"penguin: making {messages:,} messages", file=sys.stderr, flush=True)
        started = time.monotonic()
        make_rows(stores, messages)
        result.add("rows made in, s", time.monotonic() - started)
        result.add("rows, GB", stores.count("SELECT pg_database_size('penguin') / 1000000") / 1000)
        async with _callers(stores) as callers:
            # Pools fill and statements are prepared before anything is timed.
            await p95_once([reading(caller, READS[PRIMARY_KEY]) for caller in callers], _TIMES)
            for _ in range(rounds):
                await _one_round(callers, result)
    _judge(result)
    result.notes.append(
        f"{messages:,} messages, 1,000 tenants, 10,000 inboxes; {_PROCESSES} api processes, {_CLIENTS} clients on"
        f" the same cores as they and PostgreSQL, each with a request every {_PAUSE:g} s, or busy, without a pause;"
        f" p95 of {_CLIENTS * _TIMES} requests"
    )
    return result


async def _one_round(callers: list[Caller], result: Rounds) -> None:
    nothing = [idling(caller) for caller in callers]
    primary = [reading(caller, READS[PRIMARY_KEY]) for caller in callers]
    for name, asked in _operations(callers):
        print(f"penguin: {name}", file=sys.stderr, flush=True)
        # Its statements too: what they cost the first time on each connection is the start of a process, and not p95.
        await p95_once(asked, _TIMES)
        for pause, how in ((_PAUSE, ""), (0.0, _BUSY)):
            plain = await p95_of(nothing, _TIMES, pause)
            row = await p95_of(primary, _TIMES, pause) if name in LISTS else None
            took = await p95_of(asked, _TIMES, pause)
            result.add(f"{name}{how}, ms", took)
            result.add(f"{name}{how} ÷ {NOTHING}", took / plain)
            if row is not None:
                result.add(f"{name}{how} ÷ {PRIMARY_KEY}", took / row)


def _operations(callers: list[Caller]) -> Iterator[tuple[str, list[Asking]]]:
    yield f"{NOTHING}, again", [idling(caller) for caller in callers]
    for name, template in {**READS, **LISTS}.items():
        yield name, [reading(caller, template) for caller in callers]
    for name, write in WRITES.items():
        yield name, [writing(caller, write) for caller in callers]


def _judge(result: Rounds) -> None:
    for name in (*READS, *LISTS, *WRITES):
        result.hold(f"{name}, ms", f"{name}, ms", Goal(50.0, at_most=True))
        result.hold(f"{name}{_BUSY}, ms", f"{name}{_BUSY}, ms")
        for how in ("", _BUSY):
            result.hold(f"{name}{how} ÷ {NOTHING}", f"{name}{how} ÷ {NOTHING}")
    for name in LISTS:
        result.hold(f"{name} ÷ {PRIMARY_KEY}", f"{name} ÷ {PRIMARY_KEY}", Goal(2.0, at_most=True))
        result.hold(f"{name}{_BUSY} ÷ {PRIMARY_KEY}", f"{name}{_BUSY} ÷ {PRIMARY_KEY}")


@asynccontextmanager
async def _callers(stores: Stores) -> AsyncIterator[list[Caller]]:
    """Run the processes, and connect each client to one of them, with a key of its tenant's."""
    keys = await _keys(stores)
    async with AsyncExitStack() as open_until_then:
        ports = [await open_until_then.enter_async_context(running_api(stores)) for _ in range(_PROCESSES)]
        callers = []
        with psycopg.connect(stores.cluster.url(OWNER)) as connection:
            for place, key in enumerate(keys):
                client = await Client.connect(place, ports[place % _PROCESSES], key)
                open_until_then.callback(client.writer.close)
                callers.append(_caller(connection, place, client))
        yield callers


async def _keys(stores: Stores) -> list[str]:
    database = Database(stores.cluster.url("penguin_system"))
    try:
        async with database.system() as session:
            return [await create_api_key(session, id_of("tenant", place), "bench") for place in range(_CLIENTS)]
    finally:
        await database.close()


def _caller(connection: psycopg.Connection, place: int, client: Client) -> Caller:
    tenant = id_of("tenant", place)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    bounds = [first_uuid7_of(start + timedelta(days=89 * part / _KNOWN)) for part in range(_KNOWN)]
    found = connection.execute(_FIND, {"tenant": tenant, "bounds": bounds}).fetchall()
    return Caller(client, tenant, [id_of("inbox", 10 * place + n) for n in range(10)], found)
