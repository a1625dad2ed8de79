"""The real door to a server, on files and commands of the test's own."""

import os
import sys
from pathlib import Path

import pytest

from mailstack.apply import host as host_module
from mailstack.apply.host import LinuxHost, StoredFile


@pytest.fixture
def host() -> LinuxHost:
    return LinuxHost()


def test_a_file_is_read_as_it_was_written(host: LinuxHost, tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "er" / "main.cf")
    file = StoredFile(b"a = b\n", "root", "mail", 0o640)
    host.write(path, file)

    assert host.read(path) == file
    assert host.exists(path)
    assert host.read(str(tmp_path / "absent")) is None


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_no_other(host: LinuxHost, tmp_path: Path) -> None:
    path = tmp_path / "main.cf"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="no such user"):
        host.write(str(path), StoredFile(b"new", "no-such-user", "root", 0o644))

    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("main.cf", b"old")]


def test_a_file_looks_a_minute_old_and_never_as_old_as_the_one_before(host: LinuxHost, tmp_path: Path) -> None:
    path = tmp_path / "users"
    seconds = []
    for content in (b"a", b"b", b"c"):
        host.write(str(path), StoredFile(content, "root", "root", 0o644))
        seconds.append(int(path.stat().st_mtime))

    assert len(set(seconds)) == 3
    assert seconds[0] <= host.now().timestamp() - 59


def test_what_is_gone_can_be_removed_again(host: LinuxHost, tmp_path: Path) -> None:
    directory = str(tmp_path / "staging")
    host.make_directory(directory, "root", "mail", 0o711)
    assert (tmp_path / "staging").stat().st_mode & 0o777 == 0o711
    for _ in range(2):
        host.remove(f"{directory}/file")
        host.remove_directory(directory)

    assert not (tmp_path / "staging").exists()


def test_a_directory_is_removed_whole_although_something_in_it_goes_by_itself(
    host: LinuxHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a message that Dovecot moves while its mailbox is deleted: the others must not be left."""
    mailbox = tmp_path / "cur"
    mailbox.mkdir()
    for number in range(3):
        (mailbox / f"{number}.a").touch()
    unlink, left_alone = os.unlink, iter([True])

    def unlink_what_is_gone(path: str, *, dir_fd: int | None = None) -> None:
        if next(left_alone, False):
            unlink(path, dir_fd=dir_fd)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink_what_is_gone)
    host.remove_directory(str(mailbox))
    assert not mailbox.exists()


def test_commands_tell_how_they_ended(host: LinuxHost) -> None:
    output = host.run([sys.executable, "-c", "import sys; print('out'); print('last', file=sys.stderr); sys.exit(3)"])

    assert (output.exit_code, output.stdout, output.last_words) == (3, "out\n", "last")
    assert host.run(["no-such-program"]).last_words == "is not installed"


def test_a_daemon_left_behind_does_not_hold_its_starter_up(host: LinuxHost) -> None:
    program = "import os, time; pid = os.fork(); print(pid) if pid else time.sleep(30)"
    started = host.now()
    output = host.run([sys.executable, "-c", program])
    os.kill(int(output.stdout), 9)

    assert (host.now() - started).total_seconds() < 20


def test_a_command_that_hangs_is_killed(host: LinuxHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "COMMAND_TIMEOUT", 0.1)

    assert host.run(["sleep", "30"]).exit_code == -9


def test_accounts_are_looked_up(host: LinuxHost) -> None:
    assert "root" in (host.groups_of("root") or ())
    assert host.groups_of("no-such-user") is None
