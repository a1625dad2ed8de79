"""Space and inodes where mail needs them: a mail server stops for want of either."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from protos.agent.v1.telemetry_pb2 import Disk

MAIL_DISKS = ("/", "/var/spool/postfix")


#: At most so many file systems are told of.
_MOST = 16
_MOUNTS = Path("/proc/self/mounts")


def read_disks(mounts: Sequence[str] = MAIL_DISKS, also: str | None = None) -> list[Disk]:
    """Sample each path that exists, and each other file system on a disk that `also` (/proc/self/mounts) names.

    Free is what is left for ordinary users, which is what Postfix gets.
    """
    there = [mount for mount in mounts if Path(mount).is_dir()]
    text = _MOUNTS.read_text(encoding="utf-8", errors="replace") if also is None else also
    seen = {device for mount in there if (device := _device(mount)) is not None}
    for mount in disk_mounts(text):
        device = _device(mount)
        if device is not None and device not in seen:
            seen.add(device)
            there.append(mount)
    return [disk for mount in there[:_MOST] if (disk := _read(mount)) is not None]


def disk_mounts(text: str) -> list[str]:
    """Read from /proc/self/mounts (fstab(5)) where devices are mounted; a name with an escape in it is left out."""
    fields = [line.split(" ") for line in text.splitlines()]
    return [each[1] for each in fields if len(each) > 1 and each[0].startswith("/dev/") and "\\" not in each[1]]


def _device(mount: str) -> int | None:
    try:
        status = Path(mount).stat()
    except OSError:
        return None
    # The agent's sandbox puts single files in place, which are no file systems of their own.
    return status.st_dev if stat.S_ISDIR(status.st_mode) else None


def _read(mount: str) -> Disk | None:
    try:
        status = os.statvfs(mount)
    except OSError:
        # Unmounted, or its server has gone, since it was found: no reason for the agent to end.
        return None
    return Disk(
        mount=mount,
        total_bytes=status.f_blocks * status.f_frsize,
        free_bytes=status.f_bavail * status.f_frsize,
        inodes_total=status.f_files,
        inodes_free=status.f_favail,
    )
