"""How long each disk lasts, of space and of inodes, by what was left of them before.

The agent works it out, for it sees every mount every few seconds: to do so elsewhere, each mount of each server would
have to be kept apart. What was seen before the agent's start is not known, so what fills slowly is told of later then.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from protos.agent.v1.telemetry_pb2 import Disk

#: Seconds that are looked back: for what runs over within minutes, what began lately, and what goes on for long.
SPANS = (600.0, 3600.0, 21_600.0)
#: Moments that are remembered of each span.
_KEPT = 10
#: Six hours of filling foretell a day, as in the alerts of the Prometheus node mixin.
_BELIEVED = 4


class _Moment(NamedTuple):
    """What was left at a moment of a clock that is never set."""

    at: float
    free_bytes: int
    inodes_free: int


class DiskForecast:
    """Remembers each disk for as long as it is there and has the same size."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], tuple[_Span, ...]] = {}

    def told(self, disks: Sequence[Disk], now: float) -> Sequence[Disk]:
        """Return the disks, which were sampled at `now`, with how long they last; `now` is by time.monotonic()."""
        before, self._seen = self._seen, {}
        for disk in disks:
            # One that was made larger, or that another was put in the place of, did not become so by what was written.
            key = disk.mount, disk.total_bytes
            self._seen[key] = before.get(key) or tuple(_Span(seconds) for seconds in SPANS)
            _foretell(disk, self._seen[key], now)
        return disks


class _Span:
    """Some moments of the last so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moments: deque[_Moment] = deque(maxlen=_KEPT + 1)

    def first(self, now: _Moment) -> _Moment:
        """Return the first that is not too long ago, and remember this one if it is time to."""
        while self._moments and now.at - self._moments[0].at > self._seconds:
            self._moments.popleft()
        if not self._moments or now.at - self._moments[-1].at >= self._seconds / _KEPT:
            self._moments.append(now)
        return self._moments[0]


def _foretell(disk: Disk, spans: Iterable[_Span], at: float) -> None:
    now = _Moment(at, disk.free_bytes, disk.inodes_free)
    firsts = [span.first(now) for span in spans]
    space = _soonest(seconds_left(now.free_bytes, first.free_bytes, at - first.at) for first in firsts)
    inodes = _soonest(seconds_left(now.inodes_free, first.inodes_free, at - first.at) for first in firsts)
    if space is not None:
        disk.seconds_to_full = round(space)
    if inodes is not None:
        disk.seconds_to_no_inodes = round(inodes)


def seconds_left(left: int, left_before: int, seconds: float) -> float | None:
    """Return how long it lasts if it goes on as in these seconds; None when it becomes no less, or not for long yet.

    What becomes less for some minutes does not do so for a day: it is believed to go on `_BELIEVED` times as long as it
    did. Of what is used up there is nothing to foretell.
    """
    if seconds <= 0 or not 0 < left < left_before:
        return None
    lasts = left * seconds / (left_before - left)
    return lasts if lasts <= _BELIEVED * seconds else None


def _soonest(forecasts: Iterable[float | None]) -> float | None:
    return min((lasts for lasts in forecasts if lasts is not None), default=None)
