"""Bring a server that lies outside into the local world: `PENGUIN_DATABASE_URL` and `PENGUIN_REDIS_URL`.

The processes live in a network namespace without a way out. The installation itself does not: for each server it keeps
a listening socket inside and carries the bytes of each connection to the server outside. The socket is made by a thread
that enters the namespace; a socket keeps the namespace it was made in (namespaces belong to threads, setns(2)).
"""

import asyncio
import ctypes
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_CHUNK_BYTES = 65536

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def listen_inside(namespace: Path, address: str, port: int) -> socket.socket:
    """Return a socket that listens in a network namespace (a file of /run/netns); raise `OSError`."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_listen_in, namespace, address, port).result()


def _listen_in(namespace: Path, address: str, port: int) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open() as file:
        if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fspath(namespace))
    return socket.create_server((address, port))


@asynccontextmanager
async def carried(
    listener: socket.socket, connect: Callable[[], Awaitable[Connection]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Carry each connection that `listener` accepts (with `tls`, if given) to a connection that `connect` opens."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await connect()
        except OSError:
            # The client sees its connection closed, as from a server that is away.
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    server = await asyncio.start_server(carry, sock=listener, ssl=tls)
    async with server:
        yield


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
