"""How far a server's clock is from ours, from moments that it writes into its reports.

A moment that a server writes comes to us later by as long as it was under way, so each report shows the server's clock
further behind than it is, and never further ahead. Of the last few reports the one that shows it furthest ahead was
delayed least and is nearest to the truth (the clock filter of NTP, RFC 5905 section 10, for one direction). A clock
that jumps ahead is seen at once, and one that jumps back when the reports from before have gone from the window.
"""

from dataclasses import dataclass
from datetime import datetime

_WINDOW = 4
#: The first report of a link may have been made long before there was one.
_ENOUGH = 2
_LARGEST_MS = 2**53


@dataclass(slots=True)
class ClockOffset:
    """The measurements of one link."""

    _offsets: tuple[int, ...] = ()

    def measure(self, written_ms: int, received_at: datetime) -> int | None:
        """Take a report's moment; return the server's clock less ours in milliseconds, once that can be told."""
        received_ms = received_at.timestamp() * 1000
        offset = max(-_LARGEST_MS, min(_LARGEST_MS, round(written_ms - received_ms)))
        self._offsets = (*self._offsets, offset)[-_WINDOW:]
        return max(self._offsets) if len(self._offsets) >= _ENOUGH else None
