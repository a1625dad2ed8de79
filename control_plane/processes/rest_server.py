"""How a REST door is served: by uvicorn, on listening sockets that whoever starts the process has opened.

Their file descriptors stand in PENGUIN_REST_FDS (comma separated), so a door can listen outside of the network
namespace that its process lives in, or on a socket of systemd's, which holds what comes in while a process follows
another. SIGTERM lets `rest_drain_seconds` pass first, in which /healthz answers 503 and everything else is served, so
that a gateway has seen it before the door closes; then requests in hand end, and the process exits. A second signal
cuts the first part short.
"""

import os
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from control_plane.processes.readiness import say_ready
from control_plane.settings import Settings
from log_lines.lines import start_logging

#: Seconds that requests in hand get when it ends.
_GRACE_SECONDS = 10


class DrainingServer(uvicorn.Server):
    """A server that says so for a while before it closes its door."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._closes_at = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and say so."""
        await super().startup(sockets)
        if self.started:
            say_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: the first begins the draining, if there is any, and what follows ends it."""
        if self._app.state.stopping or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        self._app.state.stopping = True
        self._closes_at = time.monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end, ten times a second."""
        return await super().on_tick(counter) or time.monotonic() >= self._closes_at


def inherited_sockets(numbers: str) -> list[socket.socket]:
    """Return the listening sockets of a comma-separated list of file descriptors; raise `ValueError` for no list."""
    return [socket.socket(fileno=int(number)) for number in numbers.split(",")]


def serve(app: FastAPI, settings: Settings) -> None:
    """Serve until told to end."""
    start_logging(settings.log)
    config = uvicorn.Config(
        app,
        log_config=None,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        server_header=False,
        # The doors do that themselves (rest/gateways.py).
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = DrainingServer(config, app, settings.rest_drain_seconds)
    server.run(sockets=inherited_sockets(os.environ["PENGUIN_REST_FDS"]))
