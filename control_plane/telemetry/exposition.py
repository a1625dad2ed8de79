"""The door of `/metrics`: a listener of its own, apart from whatever else a process serves.

It is opened at PENGUIN_METRICS_LISTEN, an address:port that is not public, or the path of a Unix socket; nowhere when
that is empty. Answers are OpenMetrics to who asks for it, as Prometheus does, and Prometheus' older text otherwise.

SECURITY: whoever reaches it reads counts, and nothing of a tenant. It answers GET /metrics alone.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from control_plane.telemetry.instruments import CONNECTIONS_IN_USE, CONNECTIONS_MOST

#: Seconds for a request to be said.
_HEAD_SECONDS = 5.0
_LONGEST_HEAD = 16 * 1024


@asynccontextmanager
async def metrics_door(listen: str, engines: Mapping[str, AsyncEngine] | None = None) -> AsyncIterator[None]:
    """Answer at `listen` meanwhile, and tell of the pools of these roles. Raises `OSError` for a port that is taken."""
    for role, engine in (engines or {}).items():
        _watch_pool(role, engine)
    if not listen:
        yield
        return
    if listen.startswith("/"):
        server = await asyncio.start_unix_server(_answer, listen, limit=_LONGEST_HEAD)
    else:
        host, _, port = listen.rpartition(":")
        server = await asyncio.start_server(_answer, host.strip("[]"), int(port), limit=_LONGEST_HEAD)
    try:
        yield
    finally:
        server.close()
        if listen.startswith("/"):
            os.unlink(listen)  # noqa: PTH108 - asyncio removes it in later Pythons


def _watch_pool(role: str, engine: AsyncEngine) -> None:
    pool = engine.sync_engine.pool
    if isinstance(pool, QueuePool):
        CONNECTIONS_IN_USE.labels(role).set_function(pool.checkedout)
        CONNECTIONS_MOST.labels(role).set(pool.size() + pool._max_overflow)  # noqa: SLF001 - nothing else tells it


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            writer.write(_response(head))
            await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        return
    finally:
        writer.close()


def _response(head: str) -> bytes:
    request, *lines = head.split("\r\n")
    if request.split(" ")[:2] != ["GET", "/metrics"]:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    encode, content_type = choose_encoder(fields.get("accept", ""))
    body = encode(REGISTRY)
    lead = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return lead.encode() + body
