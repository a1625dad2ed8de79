"""Which file systems are told of."""

import errno
import os

import pytest

from agent.metrics.disk import disk_mounts, read_disks

MOUNTS = (
    "/dev/vda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/vdb1 /var/mail ext4 rw 0 0\n"
    "/dev/vdc1 /with\\040space ext4 rw 0 0\ncut\n"
)


def test_file_systems_on_disks_are_found_by_their_mounts() -> None:
    assert disk_mounts(MOUNTS) == ["/", "/var/mail"]


def test_one_file_system_is_told_of_once_whatever_is_mounted_from_it() -> None:
    assert [disk.mount for disk in read_disks(("/",), "/dev/x / ext4 rw 0 0\n/dev/x /nowhere ext4 rw 0 0\n")] == ["/"]


def test_a_file_system_that_cannot_be_read_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    read = os.statvfs

    def statvfs(path: str) -> os.statvfs_result:
        if path == "/tmp":  # noqa: S108 - any folder
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert [disk.mount for disk in read_disks(("/tmp", "/"), "")] == ["/"]  # noqa: S108
