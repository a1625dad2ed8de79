"""Greets whoever wants to know whether mail can leave their network: SMTP (RFC 5321) without mail.

SECURITY: open to whoever reaches the port. It reads a few short lines, takes no sender and no recipient, answers the
same to everybody, and ends each conversation after seconds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

#: Seconds and lines that one conversation may last.
_PATIENCE_SECONDS = 10.0
_MOST_LINES = 10
_LONGEST_LINE = 512
_MOST_AT_ONCE = 100


class PortCheck:
    """Answers as `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet, answer, take leave."""
        self._open += 1
        try:
            with contextlib.suppress(TimeoutError, ConnectionError, asyncio.LimitOverrunError, ValueError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._answer(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open > _MOST_AT_ONCE:
            writer.write(b"421 4.3.2 busy\r\n")
            return
        writer.write(f"220 {self._name} ESMTP takes no mail\r\n".encode())
        for _ in range(_MOST_LINES):
            verb = (await reader.readline()).strip().upper()[:4]
            if verb in {b"", b"QUIT"}:
                writer.write(b"221 2.0.0 bye\r\n")
                break
            known = verb in {b"EHLO", b"HELO", b"NOOP", b"RSET"}
            writer.write(f"250 {self._name}\r\n".encode() if known else b"502 5.5.1 takes no mail\r\n")
        await writer.drain()


@contextlib.asynccontextmanager
async def port_check(endpoint: str | None, name: str) -> AsyncIterator[None]:
    """Listen at host:port while the context is open; nowhere without one. Raises `OSError`."""
    if endpoint is None:
        yield
        return
    host, _, port = endpoint.rpartition(":")
    server = await asyncio.start_server(PortCheck(name).converse, host, int(port), limit=_LONGEST_LINE)
    async with server:
        yield
