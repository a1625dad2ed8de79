"""The api process: serves REST for tenants.

`python -m control_plane.processes.api`, with settings from PENGUIN_* and the listening sockets as inherited file
descriptors, their numbers in PENGUIN_REST_FDS (comma separated). It opens no socket itself: whoever starts it decides
where it listens, even out of another network namespace. SIGTERM lets requests in hand end, then it exits.

It connects to PostgreSQL only, as the role penguin_api, and exits at once with another role. Any number of these may
run side by side.
"""

import os
import socket

import uvicorn

from control_plane.rest.app import make_app
from control_plane.settings import Settings

#: Seconds that requests in hand get when it ends.
_GRACE_SECONDS = 10


def inherited_sockets(numbers: str) -> list[socket.socket]:
    """Return the listening sockets of a comma-separated list of file descriptors; raise `ValueError` for no list."""
    return [socket.socket(fileno=int(number)) for number in numbers.split(",")]


def main() -> None:
    """Serve until told to end."""
    config = uvicorn.Config(
        make_app(Settings.model_validate({})),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=inherited_sockets(os.environ["PENGUIN_REST_FDS"]))


if __name__ == "__main__":
    main()
