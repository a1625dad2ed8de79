"""One connection to Redis, as far as the agent needs it: log in, send commands, read their replies in order.

hiredis reads and writes the protocol; the TLS stream is asyncio's. redis-py does far more and costs 8 MiB of memory,
which every server would pay for.

SECURITY: trusts the certificate authority that came with the access and no other, TLS 1.3 or newer.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import hiredis

from protos.agent.v1.link_pb2 import QueueAccess

#: Seconds for any answer, on top of what a command may wait itself.
ANSWER = 5.0
_READ_BYTES = 65536
#: First words of refusals that other credentials would mend (Redis' ACL documentation).
_REFUSALS = ("WRONGPASS", "NOAUTH", "NOPERM")


class QueueAway(Exception):
    """Redis cannot be reached, closed the connection, or did not answer in time."""


class QueueError(Exception):
    """Redis answered a command with an error; the message is its own."""


class QueueRefused(QueueError):
    """Redis does not know our credentials, or they do not allow this."""


class QueueConnection:
    """An open, authenticated connection; used by one task at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._replies = hiredis.Reader()

    async def call(self, *commands: tuple[Any, ...], waiting: float = 0.0) -> list[Any]:
        """Send the commands at once and return their replies in order.

        `waiting` is how many seconds they may block in Redis. Raises `QueueAway`, `QueueRefused` or `QueueError`; after
        `QueueAway` the connection is of no more use.
        """
        try:
            async with asyncio.timeout(waiting + ANSWER):
                self._writer.write(b"".join(hiredis.pack_command(command) for command in commands))
                await self._writer.drain()
                replies = [await self._reply() for _ in commands]
        except (OSError, TimeoutError, hiredis.ProtocolError) as error:
            raise QueueAway(repr(error)) from error
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise (QueueRefused if str(reply).startswith(_REFUSALS) else QueueError)(str(reply))
        return replies

    async def _reply(self) -> Any:  # noqa: ANN401 - whatever Redis says
        # False stands for "not whole yet": RESP2 has no booleans.
        while (reply := self._replies.gets()) is False:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise ConnectionResetError("Redis closed the connection")
            self._replies.feed(data)
        return reply


@asynccontextmanager
async def connected(access: QueueAccess) -> AsyncIterator[QueueConnection]:
    """Open a connection and log in; raises what `QueueConnection.call` raises."""
    host, _, port = access.endpoint.rpartition(":")
    try:
        async with asyncio.timeout(ANSWER):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=_trusting(access.ca_pem))
    # ValueError: an access that nobody can use, such as one without an authority.
    except (OSError, TimeoutError, ValueError) as error:
        raise QueueAway(repr(error)) from error
    try:
        connection = QueueConnection(reader, writer)
        await connection.call(("AUTH", access.username, access.password))
        yield connection
    finally:
        # Not closed in TLS's manner, for which a Redis that is away would be waited for half a minute: each command was
        # answered, or will never be.
        writer.transport.abort()


@lru_cache(maxsize=1)
def _trusting(ca_pem: bytes) -> ssl.SSLContext:
    """Return the one context of an authority; making it is slow and each takes memory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    return context
