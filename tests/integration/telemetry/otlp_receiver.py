"""An OTLP/HTTP receiver on loopback that keeps the spans it was sent."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Receiver:
    """What came, as (service, span)."""

    url: str = ""
    spans: list[tuple[str, Span]] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def of_trace(self, trace_id: bytes, names: set[str]) -> dict[str, tuple[str, Span]]:
        """Return the spans of a trace by name once those of these names are there."""

        def found() -> dict[str, tuple[str, Span]]:
            return {span.name: (service, span) for service, span in self.spans if span.trace_id == trace_id}

        async with asyncio.timeout(30), self.came:
            await self.came.wait_for(lambda: names <= found().keys())
        return found()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request after another."""
        self.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                body = await reader.readexactly(length)
                await self._keep(gzip.decompress(body) if "content-encoding: gzip" in head else body)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            self.writers.discard(writer)
            writer.close()

    async def _keep(self, body: bytes) -> None:
        for told in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(each.value.string_value for each in told.resource.attributes if each.key == "service.name")
            self.spans += [(service, span) for scope in told.scope_spans for span in scope.spans]
        async with self.came:
            self.came.notify_all()


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[Receiver]:
    """Run one until left."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.take, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/traces"
    try:
        yield receiver
    finally:
        server.close()
        for writer in list(receiver.writers):
            writer.close()
            await writer.wait_closed()
