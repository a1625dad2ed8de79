"""Space and inodes where mail needs them: a mail server stops for want of either."""

import os
from collections.abc import Sequence
from pathlib import Path

from protos.agent.v1.telemetry_pb2 import Disk

MAIL_DISKS = ("/", "/var/spool/postfix")


def read_disks(mounts: Sequence[str] = MAIL_DISKS) -> list[Disk]:
    """Sample each path that exists. Free is what is left for ordinary users, which is what Postfix gets."""
    return [_read(mount) for mount in mounts if Path(mount).is_dir()]


def _read(mount: str) -> Disk:
    status = os.statvfs(mount)
    return Disk(
        mount=mount,
        total_bytes=status.f_blocks * status.f_frsize,
        free_bytes=status.f_bavail * status.f_frsize,
        inodes_total=status.f_files,
        inodes_free=status.f_favail,
    )
