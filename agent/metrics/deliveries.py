"""Counts what the mail log says became of attempts to deliver, by destination provider, as the journal hears it.

Counters only grow until the agent ends: whoever reads them takes differences, and loses nothing with a lost report.
"""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from agent.journal import Journal
from agent.journal.facts import Attempt, Fact, LogCursor, Verdict
from agent.metrics.destinations import PROVIDERS, provider_of_attempt
from protos.agent.v1.telemetry_pb2 import Destination


class Deliveries:
    """The counters, since `since_ms`."""

    def __init__(self) -> None:
        self.since_ms = time.time_ns() // 1_000_000
        self._counts: Counter[tuple[str, Verdict]] = Counter()

    def count(self, facts: Sequence[Fact]) -> None:
        """Count the attempts among them."""
        for fact in facts:
            if isinstance(fact, Attempt):
                provider = provider_of_attempt(fact.relay, fact.recipient)
                if provider is not None:
                    self._counts[provider, fact.verdict] += 1

    def result(self) -> list[Destination]:
        """Return the counters of each provider that was ever tried."""
        tried = {provider for provider, _ in self._counts}
        return [self._destination(provider) for provider in PROVIDERS if provider in tried]

    def _destination(self, provider: str) -> Destination:
        return Destination(
            provider=provider,
            delivered=self._counts[provider, Verdict.SENT],
            deferred=self._counts[provider, Verdict.DEFERRED],
            bounced=self._counts[provider, Verdict.BOUNCED],
        )


class CountingJournal(Journal):
    """A journal that has what it hears counted, once it is kept: what is read again after a failure counts once."""

    #: Set when something is to be counted.
    deliveries: Deliveries | None = None

    @classmethod
    def open(cls, path: Path) -> "CountingJournal":
        """Do as a journal does."""
        return cast("CountingJournal", super().open(path))

    async def hear(self, facts: Sequence[Fact], cursor: LogCursor, malformed: int = 0) -> None:
        """Do as a journal does, and count."""
        await super().hear(facts, cursor, malformed)
        if self.deliveries is not None:
            self.deliveries.count(facts)
