"""What an installation says of itself."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from control_plane.embedded.installation_record import (
    InstallationRecord,
    ProcessMark,
    mark_of,
    read_process,
    read_record,
    remove_records,
    write_process,
    write_record,
)


@pytest.fixture
def record() -> InstallationRecord:
    return InstallationRecord(
        process=mark_of(os.getpid()),
        rest_url="http://127.0.0.1:8025",
        enter=("nsenter", "--net=/run/netns/pgn-1", "--"),
        system_database_url="postgresql://penguin_system:secret@/penguin",
        redis_url="unix://default:secret@/run/redis.sock",
    )


def test_what_is_written_is_read(tmp_path: Path, record: InstallationRecord) -> None:
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_it_is_for_its_owner_alone_and_repr_shows_no_password(tmp_path: Path, record: InstallationRecord) -> None:
    write_record(tmp_path, record)
    assert stat.S_IMODE((tmp_path / "run/installation.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert "secret" not in repr(record)


def test_a_record_whose_process_has_ended_is_none(tmp_path: Path, record: InstallationRecord) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        write_record(tmp_path, replace(record, process=mark_of(other.pid)))
        assert read_record(tmp_path) is not None
        other.kill()
        other.wait()
        assert read_record(tmp_path) is None


def test_a_later_process_of_the_same_id_is_another(record: InstallationRecord) -> None:
    assert record.process.alive()
    assert not ProcessMark(record.process.pid, record.process.started + 1).alive()


def test_a_zombie_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError):
        mark_of(process.pid)
    process.wait()


def test_the_process_is_known_before_anything_serves(tmp_path: Path) -> None:
    write_process(tmp_path)
    assert read_process(tmp_path) == mark_of(os.getpid())
    assert read_record(tmp_path) is None
    remove_records(tmp_path)
    assert read_process(tmp_path) is None
