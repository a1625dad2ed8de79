"""How long each disk lasts, of space and of inodes, by what was left of them before.

The agent works it out, for it sees every mount every few seconds: to do so elsewhere, each mount of each server would
have to be kept apart. What was seen before the agent's start is not known, so what fills slowly is told of later then.

Each moment that is remembered begins a window, which ends now. A window is cut in quarters, and what is left must have
become less in each of them; it is taken to go on as in the slowest. So one large file or package, which is written in
one of them, foretells nothing, what has ended is soon told of no more, and what is written in bursts is told of by the
windows that have a burst in each quarter. Of all windows the one counts that foretells the soonest end.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from protos.agent.v1.telemetry_pb2 import Disk

#: Seconds that are looked back: for what runs over at once or within minutes, what began lately, and what goes on for
#: long. By `_BELIEVED` a fifth of a filling must be seen: of ten minutes two, for which there is a span.
SPANS = (120.0, 600.0, 3600.0, 21_600.0)
#: Moments that are remembered of each span: of the shortest, one of each report that comes at its usual interval.
_KEPT = 10
#: Few enough that what is written hourly is in each part of six hours, and enough that what ended is soon forgotten.
_PARTS = 4
#: Six hours of filling foretell a day, as in the alerts of the Prometheus node mixin.
_BELIEVED = 4
#: The share of its size by which a disk may differ and be the same.
_SAME = 0.01


class _Moment(NamedTuple):
    """What there was, and what was left of it, at a moment of a clock that is never set."""

    at: float
    total_bytes: int
    free_bytes: int
    inodes_free: int


class DiskForecast:
    """Remembers each disk for as long as it is there."""

    def __init__(self) -> None:
        self._seen: dict[str, _History] = {}

    def told(self, disks: Sequence[Disk], now: float) -> Sequence[Disk]:
        """Return the disks, which were sampled at `now`, with how long they last; `now` is by time.monotonic()."""
        before, self._seen = self._seen, {}
        for disk in disks:
            moment = _Moment(now, disk.total_bytes, disk.free_bytes, disk.inodes_free)
            history = before.get(disk.mount)
            if history is None or _is_another(history.newest, moment):
                history = _History(moment)
            self._seen[disk.mount] = history
            _foretell(disk, list(history.windows(moment)))
            history.remember(moment)
        return disks


class _History:
    """Some moments of one disk, the fewer the longer ago."""

    def __init__(self, first: _Moment) -> None:
        self.newest = first
        self._spans = tuple(_Span(seconds) for seconds in SPANS)

    def remember(self, now: _Moment) -> None:
        self.newest = now
        for span in self._spans:
            span.remember(now)

    def windows(self, now: _Moment) -> Iterator[Sequence[_Moment]]:
        """Return of each window the moments at which its parts begin, and this one."""
        # Spans have moments in common.
        moments = sorted({moment for span in self._spans for moment in span.since(now.at)})
        for first in range(len(moments)):
            yield [*_part_starts(moments[first:], now.at), now]


class _Span:
    """Some moments of the last so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moments: deque[_Moment] = deque(maxlen=_KEPT + 1)

    def remember(self, now: _Moment) -> None:
        """Remember this moment if it is time to."""
        if not self._moments or now.at - self._moments[-1].at >= self._seconds / _KEPT:
            self._moments.append(now)

    def since(self, at: float) -> Iterable[_Moment]:
        """Return those that are not too long ago."""
        return (moment for moment in self._moments if 0 < at - moment.at <= self._seconds)


def _is_another(before: _Moment, now: _Moment) -> bool:
    """Whether another disk was put in the place of this one.

    Its size is compared with that of the report before, so that it may drift in small steps, as with each write on ZFS.
    A size that leaps along with what is left is no other disk: a ZFS dataset does so while its neighbours in the pool
    write, by any share of it in its last minutes. What was made larger or smaller looks the same, and needs nothing:
    the one seems to fill the slower for it, if at all, and the other is one step.
    """
    grown = now.total_bytes - before.total_bytes
    used_more = grown - (now.free_bytes - before.free_bytes)
    return min(abs(grown), abs(used_more)) > _SAME * before.total_bytes


def _part_starts(moments: Sequence[_Moment], end: float) -> list[_Moment]:
    """Return the moments that part the time from the first of them to its end, each before or at where a part begins.

    Where few are known there are fewer parts, but the newest is never shorter than its share: of the second after a
    moment there is nothing to tell.
    """
    start = moments[0].at
    begins = [start + (end - start) * part / _PARTS for part in range(_PARTS)]
    return sorted({moments[bisect_right(moments, at, key=lambda moment: moment.at) - 1] for at in begins})


def _foretell(disk: Disk, windows: Sequence[Sequence[_Moment]]) -> None:
    space = _soonest(seconds_left([(each.at, each.free_bytes) for each in window]) for window in windows)
    inodes = _soonest(seconds_left([(each.at, each.inodes_free) for each in window]) for window in windows)
    if space is not None:
        disk.seconds_to_full = round(space)
    if inodes is not None:
        disk.seconds_to_no_inodes = round(inodes)


def seconds_left(seen: Sequence[tuple[float, int]]) -> float | None:
    """Return how long it lasts by what was left at some moments, of which the last is now; None when that is not known.

    One drop foretells nothing, so two parts of the time are the least that is asked for, and it became less in each.
    What becomes less for some minutes does not do so for a day: it is believed to go on `_BELIEVED` times as long as it
    did. Of what is used up there is nothing to foretell.
    """
    (began, _), (at, left) = seen[0], seen[-1]
    if len(seen) <= 2 or left <= 0:
        return None
    pace = min((before - after) / (until - since) for (since, before), (until, after) in pairwise(seen))
    if pace <= 0:
        return None
    lasts = left / pace
    return lasts if lasts <= _BELIEVED * (at - began) else None


def _soonest(forecasts: Iterable[float | None]) -> float | None:
    return min((lasts for lasts in forecasts if lasts is not None), default=None)
