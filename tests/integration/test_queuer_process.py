import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.processes.readiness import ready_socket
from tests.integration.database import FreshDatabase
from tests.integration.running_hub import free_endpoint


@pytest.mark.parametrize("name", ["queuer", "hub"])
async def test_the_process_says_that_it_serves_and_ends_in_order_when_told_to(
    name: str, database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "PENGUIN_STATE_DIR": str(tmp_path),
        "PENGUIN_API_DATABASE_URL": database.url("penguin_api"),
        "PENGUIN_SYSTEM_DATABASE_URL": database.url("penguin_system"),
        "PENGUIN_REDIS_URL": redis_server.url,
        "PENGUIN_ENROL_ENDPOINT": free_endpoint(),
        "PENGUIN_LINK_ENDPOINT": free_endpoint(),
    }
    async with ready_socket(tmp_path / "notify") as ready:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"control_plane.processes.{name}", env=environment, stderr=asyncio.subprocess.PIPE
        )
        log = asyncio.create_task(process.communicate())
        serves = asyncio.create_task(ready.wait())
        await asyncio.wait((log, serves), return_when=asyncio.FIRST_COMPLETED)
        serves.cancel()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, errors = await log
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize("name", ["queuer", "hub"])
async def test_the_process_refuses_a_role_that_could_see_past_policies(
    name: str, owner_url: str, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "PENGUIN_STATE_DIR": str(tmp_path),
        "PENGUIN_API_DATABASE_URL": owner_url,
        "PENGUIN_SYSTEM_DATABASE_URL": owner_url,
        "PENGUIN_REDIS_URL": redis_server.url,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"control_plane.processes.{name}", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, log = await process.communicate()
    assert process.returncode != 0
    assert "UnsafeRole" in log.decode()
