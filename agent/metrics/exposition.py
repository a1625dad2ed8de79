"""The door of `/metrics` on this server: loopback alone, for a scraper of the server's own.

It shows the newest report and measures nothing of its own, so being asked often costs little. Nobody needs it: the
control plane is told the same, and whoever watches the fleet asks there.
"""

import asyncio
import logging
from collections.abc import Callable

from agent.metrics.openmetrics import CONTENT_TYPE, render
from protos.agent.v1.telemetry_pb2 import HealthReport

#: Seconds for a request to be said.
_HEAD_SECONDS = 5.0
_LONGEST_HEAD = 8 * 1024
_CONNECTIONS = 4

_log = logging.getLogger(__name__)


class MetricsDoor:
    """Keeps the newest report, and answers with it at `address`."""

    def __init__(self, address: tuple[str, int], connected: Callable[[], bool]) -> None:
        self._address = address
        self._connected = connected
        self._report: HealthReport | None = None
        self._in_hand = 0
        self.port = address[1]
        #: Set once it is known whether the port could be had.
        self.opened = asyncio.Event()

    def show(self, report: HealthReport) -> None:
        """Show this one from now on; only what it is now is read of it."""
        self._report = report

    async def run(self) -> None:
        """Answer for ever. A port that somebody else has is no reason to send no mail."""
        try:
            server = await asyncio.start_server(self._answer, *self._address, limit=_LONGEST_HEAD)
        except OSError as error:
            _log.warning("no metrics are shown at %s:%d: %s", *self._address, error.strerror)
            self.opened.set()
            await asyncio.Future[None]()
            return
        self.port = server.sockets[0].getsockname()[1]
        self.opened.set()
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._in_hand += 1
        try:
            if self._in_hand <= _CONNECTIONS:
                async with asyncio.timeout(_HEAD_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(head))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            return
        finally:
            self._in_hand -= 1
            writer.close()

    def _response(self, head: bytes) -> bytes:
        if head.split(b" ", 2)[:2] != [b"GET", b"/metrics"]:
            return _response("404 Not Found", "")
        if self._report is None:
            return _response("503 Service Unavailable", "")
        return _response("200 OK", render(self._report, connected=self._connected()))


def _response(status: str, text: str) -> bytes:
    body = text.encode()
    lead = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return lead.encode() + body
