"""What lies in Postfix's queue, from `postqueue -j` (postqueue(1), JSON OBJECT FORMAT).

The output is one JSON object a line and is read as it comes, so a queue of a million messages needs no memory. A line
that is too long, of a message with thousands of recipients, is passed over; no send of ours has such. The agent may not
gain rights by a set-gid program, so its unit is in the group postdrop, which owns the way to showq.
"""

import asyncio
import json
import time
from collections.abc import Collection

from agent.metrics.command import CommandFailed, lines_of, output_of
from agent.metrics.queue_tally import Tally
from protos.agent.v1.telemetry_pb2 import PostfixQueue, QueuedDomain

#: Seconds the whole listing may take.
TIMEOUT = 60.0


def with_corrupt(queue: PostfixQueue | None, corrupt: int | None) -> PostfixQueue | None:
    """Return the counts with that of damaged messages, which Postfix does not list."""
    if queue is None:
        return None
    whole = PostfixQueue(corrupt=corrupt)
    whole.MergeFrom(queue)
    return whole


async def queued_among(queue_ids: Collection[str]) -> frozenset[str] | None:
    """Return which of these Postfix has in its queue; None when it cannot say.

    A message that is not whole yet is not listed: showq passes over files that cleanup has not finished.
    """
    wanted, found = frozenset(queue_ids), set()
    try:
        async with asyncio.timeout(TIMEOUT), output_of("postqueue", "-j") as listing:
            async for line in lines_of(listing):
                if (queue_id := queue_id_of(line)) in wanted:
                    found.add(queue_id)
    except (CommandFailed, TimeoutError):
        return None
    return frozenset(found)


def queue_id_of(line: bytes) -> str:
    """Return the queue id that a line of `postqueue -j` tells of; empty when it is cut or strange."""
    try:
        queue_id = json.loads(line)["queue_id"]
    except (KeyError, TypeError, ValueError):
        return ""
    return queue_id if isinstance(queue_id, str) else ""


async def read_postfix_queue() -> tuple[PostfixQueue, list[QueuedDomain]] | None:
    """Ask Postfix what waits, and for whom; None when it cannot say, such as while it is stopped."""
    tally = Tally(time.time())
    try:
        async with asyncio.timeout(TIMEOUT), output_of("postqueue", "-j") as listing:
            async for line in lines_of(listing):
                tally.add(line)
    except (CommandFailed, TimeoutError):
        return None
    return tally.result(), tally.top_domains()
