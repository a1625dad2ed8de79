"""When a disk is nearly full, and which is full first."""

import pytest

from control_plane.fleet.disks import first_to_end, is_nearly_full, rooms, used_share
from protos.agent.v1.telemetry_pb2 import Disk, HealthReport

ROOMY = Disk(mount="/", total_bytes=100, free_bytes=50, inodes_total=100, inodes_free=90)


@pytest.mark.parametrize(
    ("disk", "share", "is_nearly"),
    [
        (ROOMY, 0.5, False),
        (Disk(total_bytes=100, free_bytes=16), 0.84, False),
        (Disk(total_bytes=100, free_bytes=15), 0.85, True),
        (Disk(total_bytes=100, free_bytes=90, inodes_total=100, inodes_free=10), 0.9, True),
        # A file system that counts no inodes, or has no size at all.
        (Disk(total_bytes=100, free_bytes=60), 0.4, False),
        (Disk(), 0.0, False),
    ],
)
def test_space_and_inodes_count(disk: Disk, share: float, is_nearly: bool) -> None:
    assert used_share(disk) == pytest.approx(share)
    assert is_nearly_full(HealthReport(disks=[ROOMY, disk])) == is_nearly


def test_what_comes_to_an_end_first_is_found_over_all_disks_of_space_and_of_inodes() -> None:
    filling = Disk(mount="/var", seconds_to_full=90, seconds_to_no_inodes=60)
    disks = [ROOMY, Disk(mount="/srv", seconds_to_full=61), filling]
    first = first_to_end(rooms(disks))
    assert first is not None
    assert (first[0].mount, first[0].is_space, first[1]) == ("/var", False, 60)
    assert first_to_end(rooms([ROOMY])) is None
