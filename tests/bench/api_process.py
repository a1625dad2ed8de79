"""The product's api process, as deployed: a port of its own, its three roles' databases, and Redis for its limits."""

import asyncio
import os
import random
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from control_plane.processes.places import CHECKOUT
from tests.bench.http_load import until_open
from tests.bench.stores import Stores


@asynccontextmanager
async def running_api(
    stores: Stores, module: str = "tests.bench.accept_app", settings: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """Run the api process, or another that serves REST, on a port below the ephemeral ones and return the port.

    `settings` are further variables of its environment.
    """
    with tempfile.TemporaryDirectory(prefix="penguin-bench-api-") as directory, _listener() as listener:
        environment = os.environ | {
            "PENGUIN_STATE_DIR": directory,
            "PENGUIN_API_DATABASE_URL": stores.cluster.url("penguin_api"),
            "PENGUIN_IDENTITY_DATABASE_URL": stores.cluster.url("penguin_identity"),
            "PENGUIN_SYSTEM_DATABASE_URL": stores.cluster.url("penguin_system"),
            "PENGUIN_REDIS_URL": stores.redis_server.url,
            "PENGUIN_REST_FDS": str(listener.fileno()),
            **(settings or {}),
        }
        command = [sys.executable, "-m", module]
        log = Path(directory) / "api.log"
        with log.open("w") as output:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=CHECKOUT, env=environment, pass_fds=[listener.fileno()], stdout=output, stderr=output
            )
            port: int = listener.getsockname()[1]
            try:
                await _until_open(process, port, log)
                yield port
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()


async def _until_open(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Return once it serves; raise `RuntimeError` with its last words when it ends before."""
    opened, ended = asyncio.create_task(until_open(port, str(uuid.uuid4()))), asyncio.create_task(process.wait())
    done, pending = await asyncio.wait([opened, ended], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if opened not in done:
        words = await asyncio.to_thread(log.read_text)
        raise RuntimeError(f"the api process ended: {words[-2000:]}")
    await opened


def _listener() -> socket.socket:
    """Listen on a free port below 32768: above it the kernel takes ports for clients."""
    for _ in range(100):
        try:
            return socket.create_server(("127.0.0.1", random.randint(20_000, 32_000)), backlog=128)  # noqa: S311
        except OSError:
            continue
    raise RuntimeError("no port is free")
