"""A run: idle streams and then agents on a real hub, one after the other, and what both cost.

The hub is the product's own process with a private PostgreSQL and Redis, kept running by what keeps it running in an
installation; it is killed once.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from control_plane.embedded.postgres import OWNER
from control_plane.enrolment.authority import Authority
from control_plane.processes.child import Child, ChildOrder
from control_plane.sealing import Sealer
from db.session import Database
from tests.bench.stores import Stores, running_stores
from tests.integration.database import make_tenant
from tests.integration.running_hub import free_endpoint
from tests.simulation.crowd import Crowd, Fell, crowd
from tests.simulation.fleet import keep_identities, keep_rows, make_agents
from tests.simulation.rates import most_in_a_second

#: A fleet comes up at so many a second at first; how it comes back is its own affair.
_CONNECTS_PER_SECOND = 150.0
_PATIENCE = 300.0
#: After the fleet has come, for what that left to do.
_REST_SECONDS = 3.0
#: Until the last report is stored.
_STORED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured. Memory in bytes for each stream, processors' time in cores."""

    agents: int
    memory_ratio: float
    hub_bytes_per_agent: int
    idle_bytes_per_stream: int
    hub_cpu_cores: float
    postgres_cpu_cores: float
    reports_sent: int
    reports_stored: int
    configurations_applied: int
    reconnect_seconds: float
    #: Processors' time of the return; the hub's with its start, the agents' with what they tried in vain.
    reconnect_hub_cpu_seconds: float
    reconnect_postgres_cpu_seconds: float
    reconnect_agents_cpu_seconds: float
    peak_connects_per_second: int
    peak_links_per_second: int
    seconds: float

    def as_json(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


@dataclass(slots=True)
class Server:
    """A server process that is kept running, and what it uses."""

    child: Child

    @property
    def process(self) -> psutil.Process:
        running = self.child._process
        if running is None:
            raise Fell("the server is not running")
        return psutil.Process(running.pid)

    def memory(self) -> int:
        return int(self.process.memory_info().rss)

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a run takes place."""

    folder: Path
    stores: Stores
    link_endpoint: str
    count: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a while of reporting came to."""

    hub_cpu_cores: float
    postgres_cpu_cores: float
    sent: int
    stored: int


@dataclass(frozen=True, slots=True)
class Return:
    """How a fleet came back."""

    seconds: float
    hub_cpu_seconds: float
    postgres_cpu_seconds: float
    agents_cpu_seconds: float
    peak_attempts: int
    peak_links: int


async def simulate(count: int, seconds: float) -> Result:
    """Measure so many agents that report for so many seconds. Raises `Fell`."""
    started = time.monotonic()
    with TemporaryDirectory(prefix="penguin-simulate-") as name, running_stores() as stores:
        ground = Ground(Path(name), stores, free_endpoint(), count)
        await _prepare(ground)
        idle_bytes = await _measure_idle(ground, seconds)
        async with _hub(ground) as hub, crowd(count, *_agents(ground)) as agents:
            before = hub.memory()
            await agents.connect(count / _CONNECTS_PER_SECOND)
            await agents.until(lambda told: told.configured == count, _PATIENCE, "agents come")
            work = await _measure_work(ground, hub, agents, seconds)
            hub_bytes = (hub.memory() - before) // count
            back = await _measure_return(ground, hub, agents)
            configured = (await agents.tell()).configured
    return Result(
        agents=count,
        memory_ratio=hub_bytes / idle_bytes,
        hub_bytes_per_agent=hub_bytes,
        idle_bytes_per_stream=idle_bytes,
        hub_cpu_cores=work.hub_cpu_cores,
        postgres_cpu_cores=work.postgres_cpu_cores,
        reports_sent=work.sent,
        reports_stored=work.stored,
        configurations_applied=configured,
        reconnect_seconds=back.seconds,
        reconnect_hub_cpu_seconds=back.hub_cpu_seconds,
        reconnect_postgres_cpu_seconds=back.postgres_cpu_seconds,
        reconnect_agents_cpu_seconds=back.agents_cpu_seconds,
        peak_connects_per_second=back.peak_attempts,
        peak_links_per_second=back.peak_links,
        seconds=time.monotonic() - started,
    )


def _agents(ground: Ground) -> tuple[Path, str, str]:
    return ground.folder / "agents.log", "tests.simulation.agents", str(ground.folder)


async def _prepare(ground: Ground) -> None:
    """Make the rows and the files of all servers."""
    sealer = Sealer.of_file(ground.folder / "sealing.key")
    database = Database(ground.stores.cluster.url("penguin_system"))
    try:
        tenant = await make_tenant(database, "Penguin Post")
        async with database.system() as session:
            authority = await Authority.load_or_create(session, sealer, "penguin.example")
    finally:
        await database.close()
    agents = make_agents(authority, tenant, ground.count)
    keep_rows(ground.stores.cluster.url(OWNER), tenant, agents, sealer)
    keep_identities(ground.folder, agents, authority.certificate_pem, ground.link_endpoint)
    pair = authority.issue_for(ground.link_endpoint)
    for file, content in (("server.pem", pair.certificate_pem), ("server.key", pair.private_key_pem)):
        (ground.folder / file).write_bytes(content)
    (ground.folder / "ca.pem").write_bytes(authority.certificate_pem)


async def _measure_idle(ground: Ground, seconds: float) -> int:
    """Return the bytes that an idle stream costs a bare server once it is as old as the agents' will be."""
    endpoint = free_endpoint()
    module = "tests.simulation.idle"
    order = _order(ground, "idle", ["-m", module, "serve", endpoint, str(ground.folder)], os.environ)
    holding = (ground.folder / "idle-agents.log", module, "hold", endpoint, str(ground.folder))
    async with _kept(order) as server, crowd(ground.count, *holding) as streams:
        before = server.memory()
        await streams.connect(ground.count / (2 * _CONNECTS_PER_SECOND))
        await streams.until(lambda told: told.connected == ground.count, _PATIENCE, "idle streams come")
        await asyncio.sleep(_REST_SECONDS + seconds)
        await streams.until(lambda told: told.connected == ground.count, _PATIENCE, "idle streams stay")
        return (server.memory() - before) // ground.count


async def _measure_work(ground: Ground, hub: Server, agents: Crowd, seconds: float) -> Work:
    """Let all report for a while and see what it costs, and whether all was stored."""
    await asyncio.sleep(_REST_SECONDS)
    await agents.report(on=True)
    started, hub_before, postgres_before = time.monotonic(), hub.cpu_seconds(), ground.stores.cpu_seconds()
    await asyncio.sleep(seconds)
    took = time.monotonic() - started
    hub_cores = (hub.cpu_seconds() - hub_before) / took
    postgres_cores = (ground.stores.cpu_seconds() - postgres_before) / took
    await agents.report(on=False)
    await asyncio.sleep(1)
    sent = (await agents.tell()).sent
    return Work(hub_cores, postgres_cores, sent, await _stored(ground.stores, sent))


async def _measure_return(ground: Ground, hub: Server, agents: Crowd) -> Return:
    """Kill the hub and see all agents come back."""
    # What came before is no part of it.
    await agents.tell()
    postgres_before, agents_before = ground.stores.cpu_seconds(), agents.cpu_seconds()
    killed = time.monotonic()
    hub.process.kill()
    answers = await agents.until(lambda told: told.connected < ground.count, _PATIENCE, "links break")
    answers += await agents.until(lambda told: told.connected == ground.count, _PATIENCE, "agents come back")
    attempts = [moment - killed for told in answers for moment in told.attempts]
    welcomes = [moment - killed for told in answers for moment in told.welcomes]
    if len(welcomes) < ground.count:
        raise Fell(f"{len(welcomes)} links were opened again, of {ground.count}")
    return Return(
        seconds=max(welcomes),
        hub_cpu_seconds=hub.cpu_seconds(),
        postgres_cpu_seconds=ground.stores.cpu_seconds() - postgres_before,
        agents_cpu_seconds=agents.cpu_seconds() - agents_before,
        peak_attempts=most_in_a_second(attempts),
        peak_links=most_in_a_second(welcomes),
    )


async def _stored(stores: Stores, sent: int) -> int:
    """Return how many reports are stored, waiting a while for those on their way."""
    deadline = time.monotonic() + _STORED_SECONDS
    while True:
        stored = stores.count("SELECT count(*) FROM health_reports")
        if stored >= sent or time.monotonic() > deadline:
            return stored
        await asyncio.sleep(0.5)


@asynccontextmanager
async def _hub(ground: Ground) -> AsyncIterator[Server]:
    environment = os.environ | {
        "PENGUIN_STATE_DIR": str(ground.folder),
        "PENGUIN_SYSTEM_DATABASE_URL": ground.stores.cluster.url("penguin_system"),
        "PENGUIN_REDIS_URL": ground.stores.redis_server.url,
        "PENGUIN_ENROL_ENDPOINT": free_endpoint(),
        "PENGUIN_LINK_ENDPOINT": ground.link_endpoint,
        # Whoever runs an installation elsewhere on this machine scrapes that one.
        "PENGUIN_METRICS_LISTEN": "",
    }
    async with _kept(_order(ground, "hub", ["-m", "control_plane.processes.hub"], environment)) as server:
        yield server


def _order(ground: Ground, name: str, words: Sequence[str], environment: Mapping[str, str]) -> ChildOrder:
    return ChildOrder(
        name=name,
        command=["setpriv", "--pdeathsig", "TERM", "--", sys.executable, *words],
        environment=dict(environment),
        log=ground.folder / f"{name}.log",
        notify_socket=ground.folder / f"{name}.notify",
    )


@asynccontextmanager
async def _kept(order: ChildOrder) -> AsyncIterator[Server]:
    child = Child(order, lambda line: print(f"penguin: {line}", file=sys.stderr))
    try:
        await child.start()
        yield Server(child)
    finally:
        await child.stop()
