"""Reports that could not be sent when they were made: the last hour of them, one a minute, as bytes.

Serialised, sixty reports need about as much memory as one page of a log; they are sent with the first report after the
link is back, and forgotten when the report after that finds the link still up. So they may come twice: whoever keeps
them tells them apart by their moments.
"""

from collections import deque

from protos.agent.v1.telemetry_pb2 import HealthReport

#: Milliseconds between two that are kept, and for how long they are.
SPACING_MS = 60_000
SPAN_MS = 3_600_000
_MOST = SPAN_MS // SPACING_MS
#: A report that is larger is not kept.
_LARGEST = 32 * 1024


class Backlog:
    """What waits to be told."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=_MOST)
        self._sent = False

    def __len__(self) -> int:
        return len(self._kept)

    def add_to(self, report: HealthReport, *, connected: bool) -> None:
        """Put what waits into a report that is about to go; without a link, keep that report instead."""
        if not connected:
            self._sent = False
            self._keep(report)
            return
        if self._sent:
            self._kept.clear()
        self._sent = True
        for at_ms, kept in self._kept:
            if 0 < report.at_ms - at_ms <= SPAN_MS:
                report.backlog.append(HealthReport.FromString(kept))

    def _keep(self, report: HealthReport) -> None:
        # A clock that was set back must not stop it.
        if self._kept and 0 <= report.at_ms - self._kept[-1][0] < SPACING_MS:
            return
        serialised = report.SerializeToString()
        if len(serialised) <= _LARGEST:
            self._kept.append((report.at_ms, serialised))
