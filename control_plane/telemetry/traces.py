"""Traces of sends across processes (OpenTelemetry), off unless PENGUIN_OTLP_ENDPOINT is set.

Nothing is stored or carried for them: a send's id is its trace's id, and a span's id follows from the send, the lease
and what the span is of, so that each process can name the spans of others as parents. Which sends are traced follows
from the id's random part (W3C Trace Context level 2), so all processes agree. Agents know nothing of it: their spans
are made from the times of their events where those are applied.

Spans leave in batches from a thread of the library's; what the receiver does not take in time is dropped.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

_SCOPE = InstrumentationScope("penguinmails")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
#: W3C Trace Context level 2: the last seven bytes of a trace's id are random.
_RANDOM_BYTES = 7
_OF_AGENTS = Resource({SERVICE_NAME: "penguin-agent"})


@dataclass(frozen=True, slots=True)
class Place:
    """Which span of a send's trace: by what it is of, and the lease or event that it belongs to."""

    name: str
    of: uuid.UUID | None = None

    def span_id(self, send_id: uuid.UUID) -> int:
        """Return the span's id, the same wherever it is asked for."""
        named = send_id.bytes + self.name.encode() + (self.of.bytes if self.of else b"")
        return int.from_bytes(hashlib.sha256(named).digest()[:8])


#: Names of spans that others are after; the latter two are of a lease.
ACCEPTED = Place("accept")
LEASED = "lease"
PUBLISHED = "publish"


@dataclass(frozen=True, slots=True)
class Tracer:
    """Tells of spans of the sends that are traced."""

    processor: BatchSpanProcessor
    resource: Resource
    share: float

    def wants(self, send_id: uuid.UUID) -> bool:
        """Return whether the send is one that is traced."""
        drawn = int.from_bytes(send_id.bytes[-_RANDOM_BYTES:])
        return drawn < self.share * (1 << (8 * _RANDOM_BYTES))

    def tell(
        self,
        send_id: uuid.UUID,
        place: Place,
        start_ns: int,
        end_ns: int | None = None,
        *,
        after: Place | None = None,
        by_agent: uuid.UUID | None = None,
    ) -> None:
        """Tell of a span, in nanoseconds since the Unix epoch, that ends now unless `end_ns` says otherwise.

        `by_agent` is the server that saw it happen.
        """
        attributes = {"penguin.send_id": str(send_id), **({"penguin.server_id": str(by_agent)} if by_agent else {})}
        span = ReadableSpan(
            place.name,
            context=_context(send_id, place),
            parent=_context(send_id, after) if after else None,
            resource=_OF_AGENTS if by_agent else self.resource,
            attributes=attributes,
            start_time=start_ns,
            end_time=time.time_ns() if end_ns is None else end_ns,
            instrumentation_scope=_SCOPE,
        )
        self.processor.on_end(span)


@dataclass(slots=True)
class _Here:
    """What this process traces with."""

    tracer: Tracer | None = None


_here = _Here()


def tracer_for(send_id: uuid.UUID) -> Tracer | None:
    """Return what tells of the send's spans; nothing when it is not traced."""
    tracer = _here.tracer
    return tracer if tracer is not None and tracer.wants(send_id) else None


def is_tracing() -> bool:
    """Return whether any send is traced: what is done for many at once need not ask for each otherwise."""
    return _here.tracer is not None


@asynccontextmanager
async def tracing(endpoint: str, share: float, process: str) -> AsyncIterator[None]:
    """Send spans to an OTLP/HTTP receiver (its whole URL) meanwhile; do nothing when it is empty."""
    if not endpoint:
        yield
        return
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
    _here.tracer = Tracer(processor, Resource({SERVICE_NAME: f"penguin-{process}"}), share)
    try:
        yield
    finally:
        _here.tracer = None
        await asyncio.to_thread(processor.shutdown)


def _context(send_id: uuid.UUID, place: Place) -> SpanContext:
    return SpanContext(send_id.int, place.span_id(send_id), is_remote=False, trace_flags=_SAMPLED)
