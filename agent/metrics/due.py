"""When the next report is due. Pure.

Reports come at their interval; when a unit was started or stopped one comes at once, and one more when it has had the
time to get ready: Postfix has a queue to list only a while after its start.
"""

#: Seconds after a change until units are taken to be ready.
READY_AFTER = 3.0
#: Seconds between two reports at least, however often units change.
LEAST_GAP = 1.0


class Due:
    """The moments of the next reports."""

    def __init__(self) -> None:
        self._regular = float("-inf")
        self._extra: float | None = None
        self._last = float("-inf")

    def changed(self, now: float) -> None:
        """Take note that a unit was started or stopped."""
        self._regular = min(self._regular, max(now, self._last + LEAST_GAP))
        self._extra = now + READY_AFTER

    def is_due(self, now: float) -> bool:
        """Return whether a report is due."""
        return now >= self._regular or (self._extra is not None and now >= max(self._extra, self._last + LEAST_GAP))

    def reported(self, now: float, interval: float) -> None:
        """Take note of a report."""
        self._last = now
        self._regular = now + interval
        if self._extra is not None and now >= self._extra:
            self._extra = None
