"""How full a server's disks are, of space or of inodes, whichever is less. Pure."""

from protos.agent.v1.telemetry_pb2 import Disk, HealthReport

#: The share that is used of a disk that must be looked at more often: from here on it may be full within minutes.
NEARLY_FULL = 0.85


def used_share(disk: Disk) -> float:
    """Return the share that is used; 0 of what has no size."""
    space = 1 - disk.free_bytes / disk.total_bytes if disk.total_bytes else 0.0
    inodes = 1 - disk.inodes_free / disk.inodes_total if disk.inodes_total else 0.0
    return max(space, inodes)


def is_nearly_full(report: HealthReport) -> bool:
    """Whether one of its disks is."""
    return any(used_share(disk) >= NEARLY_FULL for disk in report.disks)
