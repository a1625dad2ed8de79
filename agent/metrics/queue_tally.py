"""Counts what `postqueue -j` lists (postqueue(1), JSON OBJECT FORMAT): by state, age, provider and domain. Pure.

Each line is counted and forgotten. States, ages and providers are few, and domains have a limit, so that a queue of a
million messages needs no memory.
"""

import json
import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agent.metrics.destinations import provider_of
from protos.agent.v1.telemetry_pb2 import PostfixQueue, QueuedDomain

#: Bands of ages, and the seconds at which each ends and the next begins.
AGE_BANDS = ("under_5m", "5m_to_1h", "1h_to_6h", "6h_to_1d", "over_1d")
_AGE_ENDS = (300, 3600, 21_600, 86_400)
#: Domains that are told of.
TOP_DOMAINS = 10
#: Domains that are counted apart; whatever comes after so many others is passed over, but for its provider.
_MOST_DOMAINS = 1000
#: A message in maildrop has been posted and is on its way to incoming.
_STATE_OF = {"maildrop": "incoming", "incoming": "incoming", "active": "active", "deferred": "deferred", "hold": "hold"}
_STATES = tuple(dict.fromkeys(_STATE_OF.values()))


def _no_ages() -> dict[str, list[int]]:
    return {state: [0] * len(AGE_BANDS) for state in _STATES}


@dataclass
class Tally:
    """Counts lines as of the moment `now`, in seconds since the epoch; a line that is cut or strange is left out."""

    now: float
    ages: dict[str, list[int]] = field(default_factory=_no_ages)
    oldest_seconds: float = 0.0
    providers: Counter[tuple[str, str]] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)

    def add(self, line: bytes) -> None:
        """Count one line."""
        try:
            entry = json.loads(line)
            state, age = _STATE_OF[entry["queue_name"]], self.now - float(entry["arrival_time"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return
        if not math.isfinite(age):
            return
        self.ages[state][bisect_right(_AGE_ENDS, age)] += 1
        self.oldest_seconds = max(self.oldest_seconds, age)
        self._add_destinations(state, entry)

    def top_domains(self) -> list[QueuedDomain]:
        """Return the domains that most messages wait for, the most waited for first."""
        top = sorted(self.domains.items(), key=lambda each: (-each[1], each[0]))[:TOP_DOMAINS]
        return [QueuedDomain(domain=name, provider=provider_of(name), messages=count) for name, count in top]

    def result(self) -> PostfixQueue:
        """Return the counts."""
        queue = PostfixQueue(oldest_seconds=self.oldest_seconds)
        for state, ages in self.ages.items():
            if any(ages):
                setattr(queue, state, sum(ages))
                getattr(queue, f"{state}_ages").extend(ages)
        for (state, provider), count in self.providers.items():
            setattr(getattr(queue, f"{state}_providers"), provider, count)
        return queue

    def _add_destinations(self, state: str, entry: dict[str, Any]) -> None:
        """Count a message once for each domain of its recipients, and for each provider of them."""
        recipients = entry.get("recipients")
        if not isinstance(recipients, list):
            return
        domains = {_domain_of(recipient) for recipient in recipients} - {""}
        for provider in {provider_of(domain) for domain in domains}:
            self.providers[state, provider] += 1
        for domain in domains:
            if domain in self.domains or len(self.domains) < _MOST_DOMAINS:
                self.domains[domain] += 1


def _domain_of(recipient: object) -> str:
    address = recipient.get("address") if isinstance(recipient, dict) else None
    return address.rpartition("@")[2].lower()[:253] if isinstance(address, str) else ""
