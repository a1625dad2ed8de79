import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.operators.scopes import OperatorScope
from db.session import Database
from tests.integration.database import SomeTenant, fresh_database, make_tenant
from tests.integration.gateway import Replica, free_port
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.operators.door import make_key
from tests.integration.submission.certificate import make_certificate
from tests.integration.telemetry.otlp_receiver import Receiver, otlp_receiver

PROCESSES = ("api", "operators", "submission", "hub", "queuer", "worker", "downloads")


@dataclass(frozen=True)
class Observed:
    """A control plane whose processes tell of themselves, and somebody who sends."""

    metrics: dict[str, int]
    api: str
    operators: str
    #: Where it takes mail by SMTP, on loopback.
    submission: int
    operator_key: str
    tenant: SomeTenant
    database: Database
    inbox: SomeInbox
    receiver: Receiver

    async def scrape(self, process: str) -> httpx.Response:
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with httpx.AsyncClient(timeout=20) as client:
            return await client.get(f"http://127.0.0.1:{self.metrics[process]}/metrics", headers=accept)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with otlp_receiver() as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def observed(
    cluster: EmbeddedPostgres, redis_server: EmbeddedRedis, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    (folder / "wheelhouse").mkdir()
    metrics = {process: free_port() for process in PROCESSES}
    doors = {"api": free_port(), "operators": free_port(), "submission": free_port()}
    certificate, private_key = make_certificate(folder)
    with fresh_database(cluster) as fresh:
        environment = {
            **environment_of(folder, fresh.url("penguin_system"), redis_server.url),
            "PENGUIN_OTLP_ENDPOINT": receiver.url,
            "PENGUIN_OTLP_SHARE": "1",
            # Milliseconds; the library's own five seconds would be waited for.
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        told = {
            "api": {
                "PENGUIN_API_DATABASE_URL": fresh.url("penguin_api"),
                "PENGUIN_IDENTITY_DATABASE_URL": fresh.url("penguin_identity"),
            },
            "operators": {"PENGUIN_METRICS_TARGETS": targets(metrics)},
            "submission": {
                "PENGUIN_API_DATABASE_URL": fresh.url("penguin_api"),
                "PENGUIN_SUBMISSION_CERTIFICATE_FILE": str(certificate),
                "PENGUIN_SUBMISSION_KEY_FILE": str(private_key),
            },
        }
        replicas = [
            Replica(
                process,
                {**environment, **told.get(process, {}), "PENGUIN_METRICS_LISTEN": f"127.0.0.1:{metrics[process]}"},
                folder,
                doors.get(process),
            )
            for process in PROCESSES
        ]
        database = Database(fresh.url("penguin_system"))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(database.close)
            for replica in replicas:
                stack.push_async_callback(replica.stop)
            await asyncio.gather(*(replica.start() for replica in replicas))
            tenant = await make_tenant(database, "Penguin Post")
            inbox = await make_inbox(database, tenant, await make_server(database, tenant))
            await make_sends(database, inbox, 3)
            key = await make_key(database, "prometheus", [OperatorScope.READ_FLEET])
            api, operators = (f"http://127.0.0.1:{doors[door]}" for door in ("api", "operators"))
            yield Observed(metrics, api, operators, doors["submission"], key.key, tenant, database, inbox, receiver)


def targets(metrics: dict[str, int]) -> str:
    return "[" + ", ".join(f'"{process}@127.0.0.1:{port}"' for process, port in metrics.items()) + "]"


def environment_of(folder: Path, system_url: str, redis_url: str) -> dict[str, str]:
    return {
        "PENGUIN_STATE_DIR": str(folder),
        "PENGUIN_SYSTEM_DATABASE_URL": system_url,
        "PENGUIN_REDIS_URL": redis_url,
        "PENGUIN_ENROL_ENDPOINT": f"127.0.0.1:{free_port()}",
        "PENGUIN_LINK_ENDPOINT": f"127.0.0.1:{free_port()}",
        "PENGUIN_DOWNLOADS_ENDPOINT": f"127.0.0.1:{free_port()}",
        "PENGUIN_NAMESERVERS": '["127.0.0.1"]',
    }
