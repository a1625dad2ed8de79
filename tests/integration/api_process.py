"""A real api process on loopback, for clients that are not ours."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from control_plane.settings import Settings


@contextmanager
def running_api(settings: Settings) -> Iterator[str]:
    """Run the process and yield its URL; a request waits in the socket's backlog until it takes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = {
            **os.environ,
            "PENGUIN_STATE_DIR": str(settings.state_dir),
            "PENGUIN_API_DATABASE_URL": settings.api_database_url.get_secret_value(),
            "PENGUIN_IDENTITY_DATABASE_URL": settings.identity_database_url.get_secret_value(),
            "PENGUIN_REDIS_URL": settings.redis_url.get_secret_value(),
            "PENGUIN_REST_FDS": str(listener.fileno()),
        }
        command = [sys.executable, "-m", "control_plane.processes.api"]
        with subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()]) as process:
            try:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                with urllib.request.urlopen(f"{url}/healthz", timeout=60):  # noqa: S310 - our own, on loopback
                    yield url
            finally:
                process.terminate()
                process.wait(timeout=30)
