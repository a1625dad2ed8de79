"""How full a server's disks are, of space or of inodes, whichever is less, and how long they last. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protos.agent.v1.telemetry_pb2 import Disk, HealthReport

#: The share that is used of a disk that must be looked at more often: from here on it may be full within minutes.
NEARLY_FULL = 0.85


@dataclass(frozen=True, slots=True)
class Room:
    """What a disk has of one thing that it may run out of: space, or inodes."""

    mount: str
    #: A share.
    used: float
    #: Seconds until nothing is left, as its agent foretells; None when it foretells nothing.
    lasts: float | None
    is_space: bool


def rooms(disks: Iterable[Disk]) -> Iterator[Room]:
    """Return of each disk its space, and its inodes."""
    for disk in disks:
        lasts = disk.seconds_to_full if disk.HasField("seconds_to_full") else None
        yield Room(disk.mount, _used(disk.free_bytes, disk.total_bytes), lasts, is_space=True)
        lasts = disk.seconds_to_no_inodes if disk.HasField("seconds_to_no_inodes") else None
        yield Room(disk.mount, _used(disk.inodes_free, disk.inodes_total), lasts, is_space=False)


def first_to_end(found: Iterable[Room]) -> tuple[Room, float] | None:
    """Return the one that lasts the shortest, and for how many seconds; None when none of them comes to an end."""
    ending = [(room, room.lasts) for room in found if room.lasts is not None]
    return min(ending, key=lambda each: each[1], default=None)


def used_share(disk: Disk) -> float:
    """Return the share that is used; 0 of what has no size."""
    return max(_used(disk.free_bytes, disk.total_bytes), _used(disk.inodes_free, disk.inodes_total))


def is_nearly_full(report: HealthReport) -> bool:
    """Whether one of its disks is."""
    return any(used_share(disk) >= NEARLY_FULL for disk in report.disks)


def _used(free: int, total: int) -> float:
    return 1 - free / total if total else 0.0
