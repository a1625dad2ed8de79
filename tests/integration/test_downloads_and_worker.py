"""The downloads and worker processes as they are really started: by module, settings in the environment."""

import asyncio
import os
import signal
import socket
import ssl
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from control_plane.enrolment.authority import Authority
from control_plane.pipelines.runs import start_run
from control_plane.sealing import Sealer
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def environment(database: FreshDatabase, tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / "wheelhouse").mkdir()
    (tmp_path / "wheelhouse" / "manifest.json").write_text('{"version": "1"}')
    (tmp_path / "secret").write_text("not for you")
    return {
        "PENGUIN_STATE_DIR": str(tmp_path),
        "PENGUIN_API_DATABASE_URL": database.url("penguin_api"),
        "PENGUIN_SYSTEM_DATABASE_URL": database.url("penguin_system"),
        "PENGUIN_REDIS_URL": "unix:///nowhere",
        "PENGUIN_DOWNLOADS_ENDPOINT": f"127.0.0.1:{_free_port()}",
        "PENGUIN_POWERDNS_URL": "http://127.0.0.1:1",
        "PENGUIN_NAMESERVERS": '["127.0.0.1"]',
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@asynccontextmanager
async def running(module: str, environment: Mapping[str, str], tmp_path: Path) -> AsyncIterator[None]:
    """Start a process, wait until it says that it serves, and see it end well at SIGTERM."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ready:
        ready.bind(str(tmp_path / "ready"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"control_plane.processes.{module}",
            cwd=CHECKOUT,
            env={**os.environ, **environment, "NOTIFY_SOCKET": str(tmp_path / "ready")},
        )
        try:
            async with asyncio.timeout(60):
                assert await asyncio.get_running_loop().sock_recv(ready, 100) == b"READY=1"
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                code = await process.wait()
    assert code in {0, -signal.SIGTERM}


async def authority_pem(database: Database, tmp_path: Path) -> str:
    sealer = Sealer.of_file(tmp_path / "sealing.key")
    async with database.system() as session:
        return (await Authority.load_or_create(session, sealer, "penguin.example")).certificate_pem.decode()


async def test_downloads_are_served_to_who_pins_the_authority_over_tls_1_3(
    environment: Mapping[str, str], system_database: Database, tmp_path: Path
) -> None:
    async with running("downloads", environment, tmp_path):
        pinned = ssl.create_default_context(cadata=await authority_pem(system_database, tmp_path))
        url = f"https://{environment['PENGUIN_DOWNLOADS_ENDPOINT']}"
        async with httpx.AsyncClient(verify=pinned, trust_env=False) as client:
            manifest = await client.get(f"{url}/manifest.json")
            outside = await client.get(f"{url}/%2e%2e/secret")
            written = await client.put(f"{url}/manifest.json", content=b"x")
        async with httpx.AsyncClient(trust_env=False) as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get(f"{url}/manifest.json")
        pinned.maximum_version = ssl.TLSVersion.TLSv1_2
        async with httpx.AsyncClient(verify=pinned, trust_env=False) as old:
            with pytest.raises(httpx.ConnectError):
                await old.get(f"{url}/manifest.json")

    assert manifest.json() == {"version": "1"}
    assert (outside.status_code, written.status_code) == (404, 405)


async def test_the_worker_takes_up_runs_and_ends_at_sigterm(
    environment: Mapping[str, str], system_database: Database, tenant: SomeTenant, tmp_path: Path
) -> None:
    """The run is about a server that does not exist, so its first step is tried and given back."""
    async with running("worker", environment, tmp_path):
        async with system_database.system() as session:
            run_id = await start_run(session, tenant.id, "vps.provision", uuid.uuid4())
        await _until_tried(system_database, run_id)


async def _until_tried(database: Database, run_id: uuid.UUID) -> None:
    tried = text("SELECT error FROM pipeline_steps WHERE run_id = :run AND state = 'waiting' AND attempts > 0")
    async with asyncio.timeout(20):
        while True:
            async with database.system() as session:
                if await session.scalar(tried, {"run": run_id}) == "create_server does not succeed: NoResultFound":
                    return
            await asyncio.sleep(0.05)
