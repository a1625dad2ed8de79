import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from control_plane.settings import Settings
from tests.integration.database import SomeTenant


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


@pytest.fixture
def process(rest_settings: Settings, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "PENGUIN_STATE_DIR": str(rest_settings.state_dir),
        "PENGUIN_API_DATABASE_URL": rest_settings.api_database_url.get_secret_value(),
        "PENGUIN_SYSTEM_DATABASE_URL": rest_settings.system_database_url.get_secret_value(),
        "PENGUIN_IDENTITY_DATABASE_URL": rest_settings.identity_database_url.get_secret_value(),
        "PENGUIN_REDIS_URL": rest_settings.redis_url.get_secret_value(),
        "PENGUIN_REST_FDS": str(listener.fileno()),
    }
    command = [sys.executable, "-m", "control_plane.processes.api"]
    with subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()]) as started:
        yield started
        started.kill()


async def test_the_process_serves_on_an_inherited_socket_and_ends_when_told(
    process: subprocess.Popen[bytes], listener: socket.socket, tenant: SomeTenant
) -> None:
    port = listener.getsockname()[1]
    # The request waits in the socket's backlog until the process takes it.
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        answer = await client.get(
            f"/api/v1/workspaces/{tenant.workspace_id}/inboxes", headers={"Authorization": f"Bearer {tenant.api_key}"}
        )
        assert answer.json() == {"items": [], "next": None}
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) in {0, -signal.SIGTERM}
