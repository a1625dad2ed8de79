"""Messages in Postfix's queue by state, from `postqueue -j` (postqueue(1), JSON OBJECT FORMAT).

The output is one JSON object a line and is read as it comes, so a queue of a million messages needs no memory. The
agent may not gain rights by a set-gid program, so its unit is in the group postdrop, which owns the way to showq.
"""

import asyncio
import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from agent.metrics.command import CommandFailed, output_of
from protos.agent.v1.telemetry_pb2 import PostfixQueue

#: Seconds the whole listing may take.
TIMEOUT = 60.0
#: A message in maildrop has been posted and is on its way to incoming.
_STATE_OF = {"maildrop": "incoming", "incoming": "incoming", "active": "active", "deferred": "deferred", "hold": "hold"}


@dataclass
class Tally:
    """Counts lines of `postqueue -j`; a line that is cut or strange is left out."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STATE_OF.values(), 0))
    oldest_arrival: float | None = None

    def add(self, line: bytes) -> None:
        """Count one line."""
        try:
            entry = json.loads(line)
            state, arrival = _STATE_OF[entry["queue_name"]], float(entry["arrival_time"])
        except (KeyError, TypeError, ValueError):
            return
        self.counts[state] += 1
        if self.oldest_arrival is None or arrival < self.oldest_arrival:
            self.oldest_arrival = arrival

    def result(self, now: float) -> PostfixQueue:
        """Return the counts; `now` is in seconds since the epoch."""
        oldest = 0.0 if self.oldest_arrival is None else max(0.0, now - self.oldest_arrival)
        return PostfixQueue(oldest_seconds=oldest, **self.counts)


async def queued_among(queue_ids: Collection[str]) -> frozenset[str] | None:
    """Return which of these Postfix has in its queue; None when it cannot say.

    A message that is not whole yet is not listed: showq passes over files that cleanup has not finished.
    """
    wanted, found = frozenset(queue_ids), set()
    try:
        async with asyncio.timeout(TIMEOUT), output_of("postqueue", "-j") as lines:
            async for line in lines:
                if (queue_id := queue_id_of(line)) in wanted:
                    found.add(queue_id)
    except (CommandFailed, TimeoutError, ValueError):
        return None
    return frozenset(found)


def queue_id_of(line: bytes) -> str:
    """Return the queue id that a line of `postqueue -j` tells of; empty when it is cut or strange."""
    try:
        queue_id = json.loads(line)["queue_id"]
    except (KeyError, TypeError, ValueError):
        return ""
    return queue_id if isinstance(queue_id, str) else ""


async def read_postfix_queue() -> PostfixQueue | None:
    """Ask Postfix; None when it cannot say, such as while it is stopped."""
    tally = Tally()
    try:
        async with asyncio.timeout(TIMEOUT), output_of("postqueue", "-j") as lines:
            async for line in lines:
                tally.add(line)
    except (CommandFailed, TimeoutError, ValueError):
        return None
    return tally.result(time.time())
