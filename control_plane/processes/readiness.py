"""How a child process says that it serves: systemd's notification protocol (sd_notify(3)), spoken by ourselves.

A child finds the path of a datagram socket in NOTIFY_SOCKET and sends `READY=1`. The socket is a file, so it is also
reached from another network namespace. The api says it at its own door.
"""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from control_plane.errors import Unavailable

_POLL_SECONDS = 0.02


def say_ready() -> None:
    """Say that this process serves, to whoever started it and listens.

    What it loaded until now is there for good, and is left out of its searches for garbage from here on: one through
    all of it stops a process for a tenth of a second or two, in the middle of a request.
    """
    gc.collect()
    gc.freeze()
    if address := os.environ.get("NOTIFY_SOCKET"):
        # systemd's own may be in the abstract namespace, written with an @.
        name = f"\0{address[1:]}" if address.startswith("@") else address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.sendto(b"READY=1", name)


class ReadySocket(asyncio.DatagramProtocol):
    """Waits for `READY=1`."""

    def __init__(self) -> None:
        self._ready = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - asyncio's signature
        """Take one notification: lines of VARIABLE=value."""
        if b"READY=1" in data.split(b"\n"):
            self._ready.set()

    async def wait(self) -> None:
        """Return when the child has said that it serves."""
        await self._ready.wait()


@asynccontextmanager
async def ready_socket(path: Path) -> AsyncIterator[ReadySocket]:
    """Listen at `path` for one child's notifications."""
    with _bound(path) as listener:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(ReadySocket, sock=listener)
        try:
            yield protocol
        finally:
            transport.close()


@contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


async def answers_healthy(host: str, port: int) -> None:
    """Ask `GET /healthz` and return when it is answered with 200; raise `Unavailable` for any other answer.

    Whoever listens already may take its time: the request waits in the socket's backlog until the api accepts it.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await writer.drain()
        status = (await reader.readline()).split(b" ", 2)
    finally:
        writer.close()
    if status[1:2] != [b"200"]:
        raise Unavailable(f"the api answers /healthz with {b' '.join(status).decode(errors='replace').strip()}")


async def socket_appears(path: Path) -> None:
    """Return when there is a socket at `path`, which its owner puts there when it can be connected to."""
    while not path.is_socket():  # noqa: ASYNC110, ASYNC240 - a stat(2) in /run; asyncio has no event for new files
        await asyncio.sleep(_POLL_SECONDS)
