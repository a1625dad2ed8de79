from pathlib import Path

from control_plane.providers.local.mounts import mount_points

TABLE = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
90 27 0:50 / /state/a\\040b/root rw,relatime shared:1 - overlay penguin rw,lowerdir=lower
91 90 0:51 / /state/back\\134slash rw - tmpfs tmpfs rw
"""


def test_mount_points_are_read_with_their_escapes() -> None:
    assert mount_points(TABLE) == [Path("/proc"), Path("/state/a b/root"), Path("/state/back\\slash")]
