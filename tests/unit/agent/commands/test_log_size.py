from pathlib import Path

import pytest

from agent.commands.commands import Deed
from agent.commands.log_size import LogSize
from agent.configuration.deeds import perform
from agent.maillog.reader import LogReader
from mailstack import layout
from mailstack.apply.host import LinuxHost, StoredFile
from mailstack.rendered_file import Service
from protos.agent.v1.commands_pb2 import Command, CommandResult, RotateMailLog
from tests.fakes.host import FakeHost


class HereHost(LinuxHost):
    """This machine's files in a directory of the test's; Postfix goes on in the old log until it is reloaded."""

    def __init__(self) -> None:
        self.reloaded: list[Service] = []

    def write(self, path: str, file: StoredFile) -> None:
        assert (file.owner, file.group, file.mode) == ("root", layout.MAIL_LOG_GROUP, 0o640)
        beside = Path(f"{path}-new")
        beside.write_bytes(file.content)
        beside.replace(path)

    def reload(self, service: Service) -> None:
        self.reloaded.append(service)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mail.log"
    monkeypatch.setattr(layout, "MAIL_LOG", str(path))
    return path


@pytest.fixture
def hundred_bytes(log: Path) -> Path:
    log.write_bytes(b"x" * 100)
    return log


def rotate(host: LinuxHost | FakeHost) -> CommandResult:
    return perform(Command(rotate_mail_log=RotateMailLog()), host)


def lines(reader: LogReader) -> list[bytes]:
    found = []
    for _ in range(8):
        if chunk := reader.read():
            assert not chunk.hole
            found += chunk.lines
    return found


def test_whoever_follows_the_log_misses_nothing_and_reads_nothing_twice(log: Path) -> None:
    host, reader, expected, seen = HereHost(), LogReader(log), [], []
    log.write_bytes(b"")
    assert lines(reader) == []
    for number in range(7):
        with log.open("ab") as postfix:
            postfix.write(b"before %d\n" % number)
            postfix.flush()
            if number % 2:
                seen += lines(reader)
            assert rotate(host).outcome == CommandResult.OUTCOME_DONE
            postfix.write(b"written to the old one %d\n" % number)
        expected += [b"before %d" % number, b"written to the old one %d" % number]
    log.write_bytes(b"last\n")
    seen += lines(reader)
    reader.close()
    assert seen == [*expected, b"last"]
    assert host.reloaded == [Service.POSTFIX] * 7


def test_four_logs_are_kept(log: Path) -> None:
    host = HereHost()
    for number in range(6):
        log.write_text(f"{number}\n")
        rotate(host)
    kept = {path.name: path.read_text() for path in log.parent.iterdir()}
    assert kept == {"mail.log": "", "mail.log.1": "5\n", "mail.log.2": "4\n", "mail.log.3": "3\n", "mail.log.4": "2\n"}


def test_a_rotation_that_was_cut_off_is_ended_by_the_next(log: Path) -> None:
    log.write_text("0\n")
    (log.parent / "mail.log.1").hardlink_to(log)
    rotate(HereHost())
    kept = {path.name: path.read_text() for path in log.parent.iterdir()}
    assert kept == {"mail.log": "", "mail.log.1": "0\n"}


def test_a_log_that_is_not_there_is_not_rotated() -> None:
    host = FakeHost()
    assert rotate(host).outcome == CommandResult.OUTCOME_REFUSED
    assert host.told == []


@pytest.mark.parametrize(("most_bytes", "rotations"), [(99, 1), (100, 0)])
async def test_only_a_large_log_is_rotated(hundred_bytes: Path, most_bytes: int, rotations: int) -> None:
    asked: list[Command] = []
    await LogSize(hundred_bytes, _noting(asked), most_bytes).look()
    assert [command.WhichOneof("deed") for command in asked] == ["rotate_mail_log"] * rotations


async def test_a_log_that_is_not_there_yet_is_waited_for(log: Path) -> None:
    asked: list[Command] = []
    await LogSize(log, _noting(asked), 0).look()
    assert asked == []


def _noting(asked: list[Command]) -> Deed:
    async def deed(command: Command) -> CommandResult:
        asked.append(command)
        return CommandResult(outcome=CommandResult.OUTCOME_FAILED, detail="the root half did not answer")

    return deed
