"""The machine's mounts: which are below a folder, and taking them off."""

import re
from pathlib import Path

from control_plane.providers.local.commands import run

_MOUNT_TABLE = Path("/proc/self/mountinfo")
_MOUNT_POINT_FIELD = 4
#: The kernel writes space, tab, line feed and backslash as \\ooo.
_OCTAL = re.compile(r"\\([0-7]{3})")


def mount_points(table: str) -> list[Path]:
    """Return the mount points of a mountinfo table (proc(5)), in order of mounting."""
    fields = (line.split(" ") for line in table.splitlines())
    return [Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), each[_MOUNT_POINT_FIELD])) for each in fields]


def mounts_below(folder: Path) -> list[Path]:
    """Return what is mounted below a folder, the last mounted first; a mount on the folder itself does not count."""
    folder = folder.resolve()
    return [point for point in reversed(mount_points(_MOUNT_TABLE.read_text())) if folder in point.parents]


def unmount_below(folder: Path) -> None:
    """Unmount everything below a folder, even what is still in use by a process that is about to end."""
    for point in mounts_below(folder):
        run(["umount", "--lazy", str(point)])
