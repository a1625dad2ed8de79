"""What is told of the sends that are traced once a server's events about them are applied.

An agent's spans are made here, from the times of its events by its clock: of an attempt to deliver, Postfix says how
long it took, and of all else only when it was.
"""

import json
import uuid
from collections.abc import Iterable

from control_plane.delivery.events import Event
from control_plane.telemetry.traces import PUBLISHED, Place, is_tracing, tracer_for

_NS = 1_000_000_000


def trace_events(vps_id: uuid.UUID, events: Iterable[Event], began_ns: int) -> None:
    """Tell of events that are committed now and came then (nanoseconds since the Unix epoch)."""
    if not is_tracing():
        return
    for event in events:
        if tracer := tracer_for(event.send_id):
            seen = Place(event.kind.value, event.id)
            at_ns = int(event.at.timestamp() * 1000) * (_NS // 1000)
            published = Place(PUBLISHED, event.lease_token)
            tracer.tell(event.send_id, seen, at_ns - _lasted_ns(event), at_ns, after=published, by_agent=vps_id)
            tracer.tell(event.send_id, Place("apply", event.id), began_ns, after=seen)


def _lasted_ns(event: Event) -> int:
    seconds = json.loads(event.detail).get("delay_seconds", 0.0)
    return int(max(float(seconds), 0.0) * _NS)
