"""A client that costs little: the same request over keep-alive connections, its answer read and no more than its
status looked at.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from types import MappingProxyType

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_SECONDS = 60.0
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


async def post_all(port: int, path: str, key: str, body: bytes, *, count: int, connections: int) -> float:
    """Post `body` so many times and return the seconds that took; any answer but a 2xx is an error."""
    request = request_of("POST", port, path, key, body)
    started = time.perf_counter()
    async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_ask(port, request, count // connections))
    return time.perf_counter() - started


async def until_open(port: int, key: str) -> None:
    """Return once the server answers; one request waits in the listening socket until then."""
    async with asyncio.timeout(_SECONDS):
        await _ask(port, request_of("GET", port, "/healthz", key, b""), 1)


def request_of(
    method: str, port: int, path: str, key: str, body: bytes, *, headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """Return a request with a key, unless `headers` has another Authorization; `_` in their names stands for `-`."""
    named = {"Authorization": f"Bearer {key}", **headers}
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _ask(port: int, request: bytes, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    for _ in range(count):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        answer = await reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"{head.splitlines()[0]!r}: {answer[:500]!r}")
    writer.close()
