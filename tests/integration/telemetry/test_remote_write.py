"""Values of reports go on to a real Prometheus, and nothing waits for it."""

import asyncio
import datetime as dt
import queue
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import cramjam
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.monitoring import remote_write
from control_plane.monitoring.metrics import METRICS, Measured
from control_plane.monitoring.remote_write import RemoteWrite
from db.session import Database
from protos.agent.v1.link_pb2 import AgentMessage
from protos.agent.v1.telemetry_pb2 import HealthReport, Host
from protos.prometheus.v1.remote_write_pb2 import WriteRequest
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.running_hub import running_hub
from tests.integration.served import served
from tests.integration.telemetry.prometheus import Prometheus, running_prometheus

AT = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


class Engine:
    """Answers in turn with these statuses, from then on with the last, and keeps the values of what it was sent."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self._statuses = list(statuses)
        self.told: queue.Queue[list[float]] = queue.Queue()
        self.app = Starlette(routes=[Route("/write", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(await request.body())))
        self.told.put([sample.value for series in body.timeseries for sample in series.samples])
        return Response(status_code=self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_write, "_GATHER_SECONDS", 0.0)
    monkeypatch.setattr(remote_write, "_FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(remote_write, "_LAST_SECONDS", 0.0)


def row(vps_id: uuid.UUID, load: float) -> Measured:
    return Measured(vps_id, AT + dt.timedelta(seconds=load), [load, *([None] * (len(METRICS) - 1))])


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"penguin_remote_write_{name}_total", labels) or 0.0


async def told(engine: Engine) -> list[float]:
    """Return the values of the next request; the engine answers from a thread of its own."""
    return await asyncio.to_thread(engine.told.get, timeout=20)


@pytest.fixture
async def prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Prometheus]:
    """A real engine, which hubs are told of."""
    (tmp_path / "prometheus.yml").write_text("")
    (tmp_path / "hub").mkdir()
    async with running_prometheus(tmp_path / "prometheus.yml", ["--web.enable-remote-write-receiver"]) as running:
        monkeypatch.setenv("PENGUIN_REMOTE_WRITE_URL", f"{running.client.base_url}/api/v1/write")
        yield running


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once a report's values wait to be sent."""
    event, offer = asyncio.Event(), RemoteWrite.offer

    def offer_and_say(remote: RemoteWrite, rows: Iterable[Measured]) -> None:
        offer(remote, rows)
        event.set()

    monkeypatch.setattr(RemoteWrite, "offer", offer_and_say)
    return event


@asynccontextmanager
async def reporting(
    database: FreshDatabase, redis_url: str, tenant: SomeTenant, state_dir: Path, load: float
) -> AsyncIterator[None]:
    """A hub that was told a server's load."""
    async with running_hub(database, redis_url, state_dir) as hub:
        agent = await hub.credentials(tenant.id, await make_server(hub.database, tenant))
        async with hub.linked(agent) as link:
            report = HealthReport(at_ms=time.time_ns() // 1_000_000, host=Host(load_1m=load, cpu_count=4))
            await link.send(AgentMessage(health=report))
            yield


async def test_what_a_server_reports_to_a_hub_can_be_asked_of_prometheus(
    database: FreshDatabase, redis_server: EmbeddedRedis, tenant: SomeTenant, tmp_path: Path, prometheus: Prometheus
) -> None:
    async with reporting(database, redis_server.url, tenant, tmp_path / "hub", 2.5):
        (found,) = await prometheus.until("penguin_server_load_1m")
    assert found["value"][1] == "2.5"
    assert found["metric"].keys() == {"__name__", "server", "provider", "region"}


async def test_a_hub_that_is_told_to_end_sends_what_waits_before_it_does(
    database: FreshDatabase,
    redis_server: EmbeddedRedis,
    tenant: SomeTenant,
    tmp_path: Path,
    *,
    prometheus: Prometheus,
    offered: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_write, "_GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(remote_write, "_LAST_SECONDS", 20.0)
    async with reporting(database, redis_server.url, tenant, tmp_path / "hub", 3.5), asyncio.timeout(20):
        await offered.wait()
    (found,) = await prometheus.query("penguin_server_load_1m")
    assert found["value"][1] == "3.5"


async def test_at_the_end_an_engine_that_comes_back_gets_what_waits(
    system_database: Database, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_write, "_FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(remote_write, "_LAST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(remote_write, "_LAST_SECONDS", 20.0)
    engine, vps_id = Engine([503, 503, 204]), await make_server(system_database, tenant)
    with served(engine.app) as url:
        remote = RemoteWrite(system_database, f"{url}/write")
        async with remote.sending():
            remote.offer([row(vps_id, 1.0)])
            assert await told(engine) == [1.0]
            remote.offer([row(vps_id, 2.0)])
        assert [await told(engine) for _ in range(3)] == [[1.0], [1.0], [2.0]]


async def test_at_the_end_an_engine_that_stays_away_is_not_waited_for_and_what_is_lost_is_counted(
    system_database: Database, tenant: SomeTenant
) -> None:
    engine, vps_id = Engine([503]), await make_server(system_database, tenant)
    before = counted("dropped_samples", reason="ended")
    with served(engine.app) as url:
        remote = RemoteWrite(system_database, f"{url}/write")
        async with asyncio.timeout(20), remote.sending():
            remote.offer([row(vps_id, 1.0)])
            await told(engine)
            remote.offer([row(vps_id, 2.0)])
    assert counted("dropped_samples", reason="ended") - before == 2


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_an_engine_could_not_take_is_sent_again_and_what_came_after_waits(
    system_database: Database, tenant: SomeTenant, status: int
) -> None:
    engine, vps_id = Engine([status, 204, status]), await make_server(system_database, tenant)
    before = counted("samples")
    with served(engine.app) as url:
        remote = RemoteWrite(system_database, f"{url}/write")
        async with remote.sending():
            remote.offer([row(vps_id, 1.0)])
            assert await told(engine) == [1.0]
            remote.offer([row(vps_id, 2.0)])
            assert [await told(engine), await told(engine)] == [[1.0], [2.0]]
    assert counted("samples") - before == 1


async def test_what_an_engine_refuses_is_dropped_counted_and_nothing_waits_for_it(
    system_database: Database, tenant: SomeTenant
) -> None:
    engine, vps_id = Engine([400, 204]), await make_server(system_database, tenant)
    before = counted("dropped_samples", reason="refused")
    with served(engine.app) as url:
        remote = RemoteWrite(system_database, f"{url}/write")
        async with remote.sending():
            remote.offer([row(vps_id, 1.0)])
            assert await told(engine) == [1.0]
            remote.offer([row(vps_id, 2.0)])
            assert await told(engine) == [2.0]
    assert counted("dropped_samples", reason="refused") - before == 1


async def test_while_the_engine_is_away_the_newest_wait_and_the_others_are_dropped_and_counted(
    system_database: Database, tenant: SomeTenant
) -> None:
    engine, vps_id = Engine([204]), await make_server(system_database, tenant)
    before = counted("dropped_samples", reason="full")
    with served(engine.app) as url:
        remote = RemoteWrite(system_database, f"{url}/write", most_waiting=3)
        for load in range(10):
            remote.offer([row(vps_id, float(load))])
        assert counted("dropped_samples", reason="full") - before == 7
        async with remote.sending():
            assert await told(engine) == [7.0, 8.0, 9.0]


async def test_a_server_that_is_gone_meanwhile_keeps_no_other_from_going_on(
    system_database: Database, tenant: SomeTenant
) -> None:
    engine, vps_id = Engine([204]), await make_server(system_database, tenant)
    with served(engine.app) as url:
        remote = RemoteWrite(system_database, f"{url}/write")
        async with remote.sending():
            remote.offer([row(uuid.uuid4(), 1.0), row(vps_id, 2.0)])
            assert await told(engine) == [2.0]
