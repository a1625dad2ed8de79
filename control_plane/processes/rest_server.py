"""How a REST door is served: by uvicorn, on listening sockets that whoever starts the process has opened.

Their file descriptors stand in PENGUIN_REST_FDS (comma separated), so a door can listen outside of the network
namespace that its process lives in. SIGTERM lets requests in hand end, then the process exits.
"""

import os
import socket

import uvicorn
from fastapi import FastAPI

#: Seconds that requests in hand get when it ends.
_GRACE_SECONDS = 10


def inherited_sockets(numbers: str) -> list[socket.socket]:
    """Return the listening sockets of a comma-separated list of file descriptors; raise `ValueError` for no list."""
    return [socket.socket(fileno=int(number)) for number in numbers.split(",")]


def serve(app: FastAPI) -> None:
    """Serve until told to end."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=inherited_sockets(os.environ["PENGUIN_REST_FDS"]))
