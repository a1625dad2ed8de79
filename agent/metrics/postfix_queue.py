"""Messages in Postfix's queue by state, from `postqueue -j` (postqueue(1), JSON OBJECT FORMAT).

The output is one JSON object a line and is read as it comes, so a queue of a million messages needs no memory. A line
that is too long, of a message with thousands of recipients, is passed over; no send of ours has such. The agent may not
gain rights by a set-gid program, so its unit is in the group postdrop, which owns the way to showq.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from agent.metrics.command import CommandFailed, lines_of, output_of
from agent.metrics.destinations import provider_of
from protos.agent.v1.telemetry_pb2 import PostfixQueue, QueuedDomain

#: Seconds the whole listing may take.
TIMEOUT = 60.0
#: Domains that are counted apart; whatever comes after so many others is passed over.
_MOST_DOMAINS = 1000
#: Domains that are told of.
TOP_DOMAINS = 10
#: A message in maildrop has been posted and is on its way to incoming.
_STATE_OF = {"maildrop": "incoming", "incoming": "incoming", "active": "active", "deferred": "deferred", "hold": "hold"}


@dataclass
class Tally:
    """Counts lines of `postqueue -j`; a line that is cut or strange is left out."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STATE_OF.values(), 0))
    oldest_arrival: float | None = None
    domains: Counter[str] = field(default_factory=Counter)

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
        self._add_domains(entry)

    def top_domains(self) -> list[QueuedDomain]:
        """Return the domains that most messages wait for, the most waited for first."""
        top = sorted(self.domains.items(), key=lambda each: (-each[1], each[0]))[:TOP_DOMAINS]
        return [QueuedDomain(domain=name, provider=provider_of(name), messages=count) for name, count in top]

    def result(self, now: float) -> PostfixQueue:
        """Return the counts; `now` is in seconds since the epoch."""
        oldest = 0.0 if self.oldest_arrival is None else max(0.0, now - self.oldest_arrival)
        return PostfixQueue(oldest_seconds=oldest, **self.counts)

    def _add_domains(self, entry: dict[str, Any]) -> None:
        """Count a message once for each domain of its recipients."""
        recipients = entry.get("recipients")
        if not isinstance(recipients, list):
            return
        for domain in {_domain_of(recipient) for recipient in recipients} - {""}:
            if domain in self.domains or len(self.domains) < _MOST_DOMAINS:
                self.domains[domain] += 1


def _domain_of(recipient: object) -> str:
    address = recipient.get("address") if isinstance(recipient, dict) else None
    return address.rpartition("@")[2].lower()[:253] if isinstance(address, str) else ""


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
    tally = Tally()
    try:
        async with asyncio.timeout(TIMEOUT), output_of("postqueue", "-j") as listing:
            async for line in lines_of(listing):
                tally.add(line)
    except (CommandFailed, TimeoutError):
        return None
    return tally.result(time.time()), tally.top_domains()
