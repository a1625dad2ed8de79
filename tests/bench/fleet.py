"""`fleet`: questions about ten thousand servers with two days of roll-ups behind them, and what storing reports costs.

Five operators ask side by side, each once a second. Reports are stored as the hub does it, with the hub's own batches,
without the links that they come over; `penguin simulate agents` has these. The cores are those of PostgreSQL and of
this process together: a report of each server every 15 seconds, and its roll-up every five minutes.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from control_plane.clock import utc_now
from control_plane.enrolment.identity import AgentIdentity
from control_plane.fleet.reports import report_row
from control_plane.hub.batches import Batches, KeptReport
from control_plane.hub.caller import Caller
from control_plane.monitoring.metrics import derive, derive_destinations
from control_plane.monitoring.samples import roll_up, value_rows
from control_plane.monitoring.states import Check
from control_plane.operators.acts import Actor, Door
from control_plane.operators.keys import create_operator_key
from control_plane.operators.scopes import OperatorScope
from db.session import Database
from tests.bench.api_operations import UnexpectedAnswer, id_of
from tests.bench.api_process import running_api
from tests.bench.http_clients import Asking, Client, p95_of
from tests.bench.report import Goal, Rounds
from tests.bench.rows import WRITERS, run, side_by_side, statements_of
from tests.bench.stores import Stores, running_stores
from tests.simulation.sample import health_report

SERVERS = 10_000
_TENANTS = 100
_LINK = uuid.UUID(int=1)
_OPERATORS = 5
_TIMES = 8
_PAUSE = 1.0
_REPORT_SECONDS = 15.0
_ROLL_UP_SECONDS = 300.0
_STATEMENTS = statements_of(Path(__file__).with_name("fleet_rows.sql"))
_QUESTIONS = {
    "whole fleet": "/fleet/health",
    "fleet, 500 worst": "/fleet/health?limit=500",
    "by state": "/fleet/health?state=warn",
    "by provider and region": "/fleet/health?provider=hetzner&region=here-3",
    "by version": "/fleet/health?version=0.1.1",
    "by check": "/fleet/health?check=disk",
    "by tenant": f"/fleet/health?tenant={id_of('tenant', 7)}",
    "by expression": "/fleet/health?where=deferred_ratio+%3E+0.2+and+load_1m+%3C+5",
    "by expression on a provider": "/fleet/health?where=deferred_ratio+%3E+0.01+and+provider+%3D+%27google%27",
}


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    with running_stores() as stores:
        _make_rows(stores)
        result.add("rows, GB", stores.count("SELECT pg_database_size('penguin') / 1000000") / 1000)
        async with _operators(stores) as clients:
            for _ in range(rounds):
                for name, path in _QUESTIONS.items():
                    result.add(
                        f"{name}, ms", await p95_of([_asking(client, path) for client in clients], _TIMES, _PAUSE)
                    )
        for _ in range(rounds):
            await _store(stores, result)
    for name in _QUESTIONS:
        result.hold(f"{name}, p95, ms", f"{name}, ms", Goal(200.0, at_most=True))
    result.hold("storing, cores", "storing, cores", Goal(0.25, at_most=True))
    return result


def _make_rows(stores: Stores) -> None:
    report = health_report("mx.penguin.example", 100)
    (row,) = value_rows(id_of("server", 0), report, utc_now())
    measured = list(row.measured.values)
    metrics = derive(measured) | {"destinations": derive_destinations(measured)}
    of_servers = {"servers": SERVERS, "link": _LINK, "metrics": json.dumps(metrics), "checks": list(Check)}
    run(stores, _STATEMENTS["servers"], of_servers)
    filled = {"measured": measured}
    side_by_side([partial(run, stores, _STATEMENTS["samples"], filled | {"part": part}) for part in range(WRITERS)])
    run(stores, _STATEMENTS["reports"], filled)
    stores.execute("VACUUM (ANALYZE)", "CHECKPOINT")


@asynccontextmanager
async def _operators(stores: Stores) -> AsyncIterator[list[Client]]:
    database = Database(stores.cluster.url("penguin_system"))
    async with database.system() as session:
        key = await create_operator_key(session, Actor(Door.CLI, "bench"), "bench", [OperatorScope.READ_FLEET])
    await database.close()
    async with AsyncExitStack() as until_then:
        port = await until_then.enter_async_context(running_api(stores, "control_plane.processes.operators"))
        clients = [await Client.connect(place, port, key.key) for place in range(_OPERATORS)]
        for client in clients:
            until_then.callback(client.writer.close)
        yield clients


def _asking(client: Client, path: str) -> Asking:
    async def ask(_: int) -> float:
        answer = await client.ask("GET", f"/operator/v1{path}")
        if answer.status != 200:
            raise UnexpectedAnswer(f"{path}: {answer.status} {answer.body[:300]!r}")
        return answer.seconds

    return ask


async def _store(stores: Stores, result: Rounds) -> None:
    """Store a report of each server, and roll up what has come."""
    database = Database(stores.cluster.url("penguin_system"))
    batches = Batches(database, lambda _: None)
    reports = [_kept(number) for number in range(SERVERS)]
    try:
        before = stores.cpu_seconds() + time.process_time()
        await asyncio.gather(*(batches.reports.serve(report) for report in reports))
        stored = stores.cpu_seconds() + time.process_time()
        async with database.system() as session:
            await roll_up(session, utc_now())
        rolled_up = stores.cpu_seconds() + time.process_time()
    finally:
        await database.close()
    result.add("a report of each, seconds of processors' time", stored - before)
    result.add("a roll-up, seconds of processors' time", rolled_up - stored)
    result.add("storing, cores", (stored - before) / _REPORT_SECONDS + (rolled_up - stored) / _ROLL_UP_SECONDS)


def _kept(number: int) -> KeptReport:
    vps_id = id_of("server", number)
    report = health_report("mx.penguin.example", number)
    caller = Caller(AgentIdentity(id_of("tenant", number % _TENANTS), vps_id), vps_id.hex)
    return KeptReport(caller, report_row(vps_id, _LINK, report), value_rows(vps_id, report, utc_now()))
