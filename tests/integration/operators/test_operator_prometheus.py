"""What a Prometheus of the operators' is told."""

import datetime as dt
import uuid

import httpx
import pytest
from sqlalchemy import text

from control_plane.clock import utc_now
from control_plane.monitoring.samples import keep_values, value_rows
from control_plane.settings import Settings
from db.session import Database
from protos.agent.v1.telemetry_pb2 import Destination, HealthReport, Host, PostfixQueue
from tests.integration.mail_rows import SomeInbox
from tests.openmetrics import families_of


@pytest.fixture
def rest_settings(rest_settings: Settings) -> Settings:
    targets = ("queuer@127.0.0.1:9105", "api@127.0.0.1:18025", "api@[::1]:18027")
    return rest_settings.model_copy(update={"metrics_targets": targets})


async def keep(database: Database, vps_id: uuid.UUID, load: float, ago: dt.timedelta) -> None:
    at = utc_now() - ago
    report = HealthReport(
        at_ms=int(at.timestamp() * 1000),
        host=Host(load_1m=load),
        postfix_queue=PostfixQueue(deferred=7),
        destinations=[Destination(provider="google", delivered=5, deferred=1)],
    )
    async with database.system() as session:
        await keep_values(session, value_rows(vps_id, report, at))


async def test_processes_are_listed_by_kind_as_service_discovery_wants_them(operator: httpx.AsyncClient) -> None:
    answer = await operator.get("prometheus/targets")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [
        {"targets": ["127.0.0.1:18025", "[::1]:18027"], "labels": {"process": "api"}},
        {"targets": ["127.0.0.1:9105"], "labels": {"process": "queuer"}},
    ]


async def test_the_newest_values_of_each_server_are_told_and_no_tenant_is(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await keep(system_database, inbox.vps_id, 4.0, dt.timedelta(seconds=30))
    await keep(system_database, inbox.vps_id, 2.0, dt.timedelta(seconds=5))
    answer = await operator.get("metrics/fleet")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = families_of(answer.text)
    (load,) = families["penguin_server_load_1m"].samples
    assert load.value == 2.0
    assert load.labels == {
        "server": f"mx-{inbox.vps_id.hex[:8]}.penguin.example",
        "provider": "local",
        "region": "here",
    }
    attempts = {
        (sample.labels["destination"], sample.labels["outcome"]): sample.value
        for sample in families["penguin_server_delivery_attempts"].samples
    }
    assert attempts == {("google", "delivered"): 5.0, ("google", "deferred"): 1.0, ("google", "bounced"): 0.0}
    (state,) = (sample for sample in families["penguin_server_state"].samples if sample.value)
    assert state.labels["state"] == "unknown"
    assert str(inbox.tenant.id) not in answer.text


async def test_a_server_that_is_silent_is_down_and_has_no_values(
    operator: httpx.AsyncClient, system_database: Database, inbox: SomeInbox
) -> None:
    await keep(system_database, inbox.vps_id, 4.0, dt.timedelta(minutes=6))
    async with system_database.system() as session:
        await session.execute(text("UPDATE vps_servers SET last_seen_at = now() - interval '6 minutes'"))
    families = families_of((await operator.get("metrics/fleet")).text)
    assert [sample.value for sample in families["penguin_server_up"].samples] == [0.0]
    assert not families["penguin_server_load_1m"].samples
