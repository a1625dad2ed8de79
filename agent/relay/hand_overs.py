"""Counts what came of handing sends over to our own Postfix, for the health report. Pure.

A send that Postfix takes, or that is refused for good, counts at once. A no for now counts only when it lasts: a
restart, or a moment without resources, is no refusal.
"""

import math
from dataclasses import dataclass, field

from agent.relay.hand import Send

#: Seconds for which Postfix may be away, or say no for now, before that counts. A restart takes less.
PATIENCE = 30.0


@dataclass(slots=True)
class HandOvers:
    """The counters, since the agent started; moments are seconds of one clock that is never set."""

    taken: int = 0
    refused: int = 0
    #: When sessions began to fail; None while Postfix takes messages.
    _failing_since: float | None = field(default=None, init=False)

    def took(self) -> None:
        """Count one that Postfix has."""
        self.taken += 1
        self._failing_since = None

    def refuse(self) -> None:
        """Count one that ends here."""
        self.refused += 1

    def put_off(self, send: Send, now: float) -> None:
        """Take note that Postfix would not have this send for now: it counts once, however often that is tried."""
        if send.counts_from is None:
            send.counts_from = now + PATIENCE
        elif now >= send.counts_from:
            send.counts_from = math.inf
            self.refused += 1

    def fail(self, now: float) -> None:
        """Take note that a session failed: while all do, only a few sends are ever tried, so each attempt counts."""
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since >= PATIENCE:
            self.refused += 1
