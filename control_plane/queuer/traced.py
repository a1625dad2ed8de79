"""What the queuer tells of the sends that are traced: the lease of each, and the writing of its envelope."""

import time
import uuid
from collections.abc import Collection, Iterable

from control_plane.queuer.leased_send import LeasedSend
from control_plane.telemetry.traces import ACCEPTED, LEASED, PUBLISHED, Place, is_tracing, tracer_for


def trace_leases(leased: Iterable[LeasedSend], began_ns: int) -> None:
    """Tell of leases that are committed now and were begun then (nanoseconds since the Unix epoch)."""
    if not is_tracing():
        return
    for send in leased:
        if tracer := tracer_for(send.id):
            tracer.tell(send.id, Place(LEASED, send.lease_token), began_ns, after=ACCEPTED)


def trace_writes(written: Iterable[LeasedSend], refused: Collection[LeasedSend], began_ns: int) -> None:
    """Tell of envelopes that Redis has now, but for those that it refused."""
    if not is_tracing():
        return
    ended_ns = time.time_ns()
    without: set[uuid.UUID] = {send.id for send in refused}
    for send in written:
        if send.id not in without and (tracer := tracer_for(send.id)):
            published, leased = Place(PUBLISHED, send.lease_token), Place(LEASED, send.lease_token)
            tracer.tell(send.id, published, began_ns, ended_ns, after=leased)
