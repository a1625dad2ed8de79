"""What is due, what is wrong, which pieces of the log are taken, and keys under a passphrase."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control_plane.backups.digest import TableDigest, differences
from control_plane.backups.key_file import put_back, write_keys
from control_plane.backups.programs import BackupFailed
from control_plane.backups.receiver import LogReceived, wrong_with_log
from control_plane.backups.results import Kind, Newest, is_awaited, what_is_wrong
from control_plane.backups.schedule import Outcome, due, outcome_of
from control_plane.backups.segments import drop_before, gather
from control_plane.backups.vault import Vault
from control_plane.errors import Conflict, InvalidInput

NOW = dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC)
FIRST, SECOND = "000000010000000000000001", "000000010000000000000002"


def result(hours_ago: float, *, ok: bool = True, first: float | None = None) -> Newest:
    at = NOW - dt.timedelta(hours=hours_ago)
    first_at = at if first is None else NOW - dt.timedelta(hours=first)
    return Newest(ok, "it is so", at, at if ok else None, first_at)


def test_a_copy_is_due_each_day_a_test_each_week_and_what_failed_after_an_hour() -> None:
    assert due({}, NOW) is Kind.COPY
    assert due({Kind.COPY: result(1)}, NOW) is Kind.RESTORE_TEST
    assert due({Kind.COPY: result(1), Kind.RESTORE_TEST: result(24 * 6)}, NOW) is None
    assert due({Kind.COPY: result(0.5, ok=False), Kind.RESTORE_TEST: result(1)}, NOW) is None
    assert due({Kind.COPY: result(2, ok=False), Kind.RESTORE_TEST: result(1)}, NOW) is Kind.COPY


def test_a_failed_or_old_restore_test_is_wrong_and_backups_that_nobody_asked_for_are_not() -> None:
    assert what_is_wrong({}, NOW) == ""
    assert what_is_wrong({Kind.COPY: result(1), Kind.RESTORE_TEST: result(1)}, NOW) == ""
    assert "restore test failed" in what_is_wrong({Kind.COPY: result(1), Kind.RESTORE_TEST: result(1, ok=False)}, NOW)
    assert "no restore test yet" in what_is_wrong({Kind.COPY: result(1)}, NOW)
    assert "restore test is of" in what_is_wrong({Kind.COPY: result(1), Kind.RESTORE_TEST: result(24 * 8)}, NOW)


def test_the_first_of_a_kind_is_awaited_for_as_long_as_the_first_of_the_other_is_new() -> None:
    assert is_awaited(Kind.RESTORE_TEST, {Kind.COPY: result(5)}, NOW)
    assert is_awaited(Kind.RESTORE_TEST, {Kind.COPY: result(1, first=5)}, NOW)
    assert not is_awaited(Kind.RESTORE_TEST, {Kind.COPY: result(7)}, NOW)
    assert not is_awaited(Kind.RESTORE_TEST, {Kind.COPY: result(1, first=7)}, NOW)
    assert not is_awaited(Kind.COPY, {Kind.COPY: result(5, ok=False)}, NOW)
    assert not is_awaited(Kind.COPY, {}, NOW)


@pytest.mark.parametrize(
    ("received", "words"),
    [
        (None, ""),
        (LogReceived(is_active=True, behind=64 << 20), ""),
        (LogReceived(is_active=True, behind=(64 << 20) + 1), "64 MiB behind"),
        (LogReceived(is_active=False, behind=3 << 20), "nobody receives the database's log, of which 3 MiB wait"),
        (LogReceived(is_active=False, behind=None), "nobody receives the database's log, of which 0 MiB wait"),
        (LogReceived(is_active=True, behind=None), ""),
        (LogReceived(is_active=False, behind=None, is_lost=True), "dropped log that nobody had received"),
    ],
)
def test_a_log_that_nobody_receives_or_too_late_is_wrong_and_one_that_was_never_received_is_not(
    received: LogReceived | None, words: str
) -> None:
    wrong = wrong_with_log(received)
    assert words in wrong
    assert bool(words) == bool(wrong)


def test_a_table_that_lost_a_row_or_has_another_is_named() -> None:
    was = {"fish": TableDigest(2, "a"), "ice": TableDigest(1, "b"), "krill": TableDigest(1, "c")}
    found = {"fish": TableDigest(1, "a"), "ice": TableDigest(1, "x")}
    told = differences(was, found)
    assert told == ["fish has 1 rows and had 2", "ice has other content in its 1 rows", "krill is missing"]


def test_of_a_segment_the_whole_one_is_taken_and_else_the_latest_part(tmp_path: Path) -> None:
    older, newer = tmp_path / "older", tmp_path / "newer"
    for folder in (older, newer):
        folder.mkdir()
        (folder / f"{SECOND}.partial").write_text(folder.name)
    (older / f"{FIRST}.partial").write_text("part")
    (newer / FIRST).write_text("whole")

    gather(tmp_path / "into", [older, newer, tmp_path / "missing"])

    taken = {path.name: path.read_text() for path in (tmp_path / "into").iterdir()}
    assert taken == {FIRST: "whole", SECOND: "newer"}


def test_segments_before_the_first_that_is_needed_go(tmp_path: Path) -> None:
    for name in (FIRST, SECOND, "00000002.history"):
        (tmp_path / name).touch()
    drop_before(tmp_path, SECOND)
    assert {path.name for path in tmp_path.iterdir()} == {SECOND, "00000002.history"}


def test_keys_come_back_with_the_passphrase_alone_and_over_nothing_that_is_there(tmp_path: Path) -> None:
    master, password, kept = tmp_path / "sealing.key", tmp_path / "backup.password", tmp_path / "keys"
    master.write_bytes(b"\x00\xff" * 16)
    password.write_text("here")
    files = {"sealing.key": master, "backup.password": password}
    write_keys(kept, files, "a long passphrase")
    master.unlink()

    with pytest.raises(InvalidInput):
        put_back(kept, files, "another passphrase")
    assert put_back(kept, files, "a long passphrase") == ["sealing.key"]
    assert master.read_bytes() == b"\x00\xff" * 16
    assert b"here" not in kept.read_bytes()


def test_what_failed_is_an_outcome_and_what_was_not_begun_is_none() -> None:
    def fails() -> Outcome:
        raise BackupFailed("the disk is full")

    def waits() -> Outcome:
        raise Conflict("another is under way")

    assert outcome_of(fails) == Outcome(ok=False, sentence="the disk is full")
    with pytest.raises(Conflict):
        outcome_of(waits)


def test_who_may_wait_for_another_backup_does_and_who_may_not_is_told(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as others:
        with Vault(tmp_path).alone():
            with pytest.raises(Conflict), Vault(tmp_path).alone():
                pass
            waiting = others.submit(_enter, Vault(tmp_path, patience=30))
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
        assert waiting.result(30)


def _enter(vault: Vault) -> bool:
    with vault.alone():
        return True


def test_a_repository_whose_password_is_not_here_says_how_it_comes_back(tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="backup keys --from"):
        Vault(tmp_path).repository.snapshots()
