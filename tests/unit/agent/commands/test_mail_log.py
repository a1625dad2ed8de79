from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.commands.mail_log import MOST_BYTES, ReadMailLog
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.commands_pb2 import ReadMailLog as Deed


async def read(path: Path, lines: int, after: str = "") -> CommandResult:
    return await ReadMailLog(path)(Command(id=b"id", read_mail_log=Deed(lines=lines, after=after)))


async def test_the_last_lines_are_read_and_then_those_that_follow(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("one\ntwo\nthree\nhal")
    first = await read(log, 2)
    assert (first.outcome, first.output, first.truncated) == (CommandResult.OUTCOME_DONE, "two\nthree\n", True)
    with log.open("a") as file:
        file.write("f\nfour\n")
    second = await read(log, 1, first.next)
    assert (second.output, second.truncated) == ("half\n", True)
    third = await read(log, 9, second.next)
    assert (third.output, third.truncated) == ("four\n", False)
    assert (await read(log, 9, third.next)).output == ""


async def test_a_rotated_log_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("old\n")
    place = (await read(log, 9)).next
    log.rename(tmp_path / "mail.log.1")
    log.write_text("new\n")
    assert (await read(log, 9, place)).output == "new\n"


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    result = await read(tmp_path / "mail.log", 9)
    assert (result.outcome, result.output) == (CommandResult.OUTCOME_DONE, "")


async def test_an_answer_is_bounded_and_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("".join(f"{number:099d}\n" for number in range(5000)))
    result = await read(log, 1000)
    assert len(result.output) <= MOST_BYTES
    assert result.truncated
    assert result.output.splitlines() == [f"{number:099d}" for number in range(4000, 5000)]


@pytest.mark.parametrize(("lines", "after"), [(0, ""), (1001, ""), (1, "../../etc/shadow"), (1, "1-"), (1, "-1-2")])
async def test_bad_arguments_are_refused(tmp_path: Path, lines: int, after: str) -> None:
    assert (await read(tmp_path / "mail.log", lines, after)).outcome == CommandResult.OUTCOME_REFUSED


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet="ab\u00e9", max_size=8), max_size=30), st.integers(1, 7))
async def test_pages_put_together_are_the_log(tmp_path: Path, lines: list[str], page: int) -> None:
    log = tmp_path / "mail.log"
    log.write_text("")
    place, read_so_far = (await read(log, 1)).next, ""
    log.write_text("".join(f"{line}\n" for line in lines))
    for _ in range(len(lines) + 1):
        result = await read(log, page, place)
        place, read_so_far = result.next, read_so_far + result.output
        assert result.output.count("\n") <= page
    assert read_so_far == log.read_text()
