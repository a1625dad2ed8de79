"""How many sends may be leased now, and for which servers and priorities: pure.

Each priority has its own share of a server's depth, so a flood of one never takes the place of another: what is urgent
finds room at once, and what is not urgent always has a tenth. The agent reads high before normal before low.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Tenths of a server's depth, by priority: high, normal, low.
SHARES = (4, 5, 1)


@dataclass(frozen=True, slots=True)
class Line:
    """The waiting sends of one priority of one server."""

    vps_id: uuid.UUID
    priority: int


def allot(lines: Sequence[Line], depths: Mapping[uuid.UUID, Sequence[int]], bound: int, batch: int) -> dict[Line, int]:
    """Return how many sends to lease from each line, those with no room left out.

    `depths` holds the lengths of a server's streams by priority; `bound` is what may wait in all three of one server.
    `batch` is dealt evenly first, so that no server waits for another, and what is left goes to high before low. Each
    line gets one at least, so more lines than `batch` give more than `batch`.
    """
    room = {line: free for line in lines if (free := _room(depths[line.vps_id][line.priority], line.priority, bound))}
    if not room:
        return {}
    even = max(1, batch // len(room))
    dealt = {line: min(free, even) for line, free in room.items()}
    left = batch - sum(dealt.values())
    for line in sorted(room, key=lambda line: line.priority):
        more = max(0, min(room[line] - dealt[line], left))
        dealt[line] += more
        left -= more
    return dealt


def most_bytes(lines: Iterable[Line], bound: int) -> dict[Line, int]:
    """Return how many bytes of large sends each line's stream may hold; `bound` is for all three of one server."""
    return {line: bound * SHARES[line.priority] // 10 for line in lines}


def _room(depth: int, priority: int, bound: int) -> int:
    return max(0, max(1, bound * SHARES[priority] // 10) - depth)
