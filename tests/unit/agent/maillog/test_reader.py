import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.journal.facts import LogCursor
from agent.maillog.reader import Chunk, LogReader


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "mail.log"


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as opened:
        opened.write(content)


def read_all(reader: LogReader) -> list[Chunk]:
    # One look may end at a partial line or the end of a rotated file with more behind it.
    return [chunk for _ in range(6) if (chunk := reader.read())]


def lines(reader: LogReader) -> list[bytes]:
    return [line for chunk in read_all(reader) for line in chunk.lines]


def cursor_after(chunk: Chunk) -> LogCursor:
    return LogCursor(chunk.inode, chunk.offset, chunk.tail, "")


def test_a_log_that_is_not_there_yet_is_waited_for(log: Path) -> None:
    reader = LogReader(log)
    assert reader.read() is None
    append(log, b"one\n")
    assert lines(reader) == [b"one"]


def test_a_line_is_read_once_it_is_whole(log: Path) -> None:
    reader = LogReader(log)
    append(log, b"one\ntw")
    first = reader.read()
    assert first is not None
    assert (first.lines, first.offset) == ([b"one"], 4)
    append(log, b"o\n")
    assert lines(reader) == [b"two"]


def test_reading_goes_on_at_the_cursor(log: Path) -> None:
    append(log, b"one\ntwo\nhal")
    reader = LogReader(log)
    chunk = reader.read()
    assert chunk is not None
    append(log, b"f\n")
    again = LogReader(log)
    again.resume(cursor_after(chunk))
    resumed = again.read()
    assert resumed is not None
    assert (resumed.lines, resumed.hole, resumed.cut) == ([b"half"], False, 0)


def test_a_rotated_log_is_read_to_its_end_before_the_new_one(log: Path) -> None:
    reader = LogReader(log)
    append(log, b"one\n")
    assert lines(reader) == [b"one"]
    old = log.rename(log.with_name("mail.log.1"))
    log.touch()
    append(old, b"two\n")
    assert lines(reader) == [b"two"]
    append(log, b"three\n")
    append(old, b"late\n")
    assert lines(reader) == [b"late", b"three"]


def test_a_log_rotated_twice_while_nobody_looked_is_read_whole(log: Path) -> None:
    append(log, b"one\n")
    reader = LogReader(log)
    chunk = reader.read()
    assert chunk is not None
    append(log, b"two\n")
    oldest = log.rename(log.with_name("mail.log.20261121-000000"))
    os.utime(oldest, (1, 1))
    append(log, b"three\n")
    os.utime(log.rename(log.with_name("mail.log.20261122-000000")), (2, 2))
    append(log, b"four\n")
    again = LogReader(log)
    again.resume(cursor_after(chunk))
    chunks = read_all(again)
    assert [line for each in chunks for line in each.lines] == [b"two", b"three", b"four"]
    assert not any(each.hole for each in chunks)


def test_a_line_that_rotation_left_cut_is_counted_and_passed_over(log: Path) -> None:
    reader = LogReader(log)
    append(log, b"one\ncut sho")
    assert lines(reader) == [b"one"]
    log.rename(log.with_name("mail.log.1"))
    append(log, b"two\n")
    (chunk,) = read_all(reader)
    assert (chunk.lines, chunk.cut) == ([b"two"], 1)


def test_a_truncated_log_is_read_from_its_start_and_is_a_hole(log: Path) -> None:
    reader = LogReader(log)
    append(log, b"one long line\n")
    assert lines(reader) == [b"one long line"]
    os.truncate(log, 0)
    append(log, b"two\n")
    (chunk,) = read_all(reader)
    assert (chunk.lines, chunk.hole) == ([b"two"], True)


@pytest.mark.parametrize("gone", ["deleted", "replaced", "compressed"])
def test_a_log_that_is_gone_is_a_hole(log: Path, gone: str) -> None:
    append(log, b"one\n")
    chunk = LogReader(log).read()
    assert chunk is not None
    if gone == "compressed":
        log.rename(log.with_name("mail.log.1.gz"))
    else:
        log.unlink()
    if gone == "replaced":
        # The inode may be the same; the bytes are not.
        append(log, b"two\nthree\n")
    again = LogReader(log)
    again.resume(cursor_after(chunk))
    append(log, b"four\n")
    resumed = again.read()
    assert resumed is not None
    assert resumed.hole
    assert resumed.lines[-1] == b"four"


def test_a_line_without_end_is_cut_and_counted(log: Path) -> None:
    reader = LogReader(log)
    append(log, b"x" * 300_000 + b"\nshort\n")
    chunks = read_all(reader)
    assert sum(chunk.cut for chunk in chunks) == 1
    assert chunks[-1].lines[-1] == b"short"
    assert chunks[-1].offset == log.stat().st_size


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    st.lists(st.integers(1, 15), max_size=30),
)
def test_however_it_is_written_and_however_often_we_restart_each_line_comes_once(
    tmp_path_factory: pytest.TempPathFactory, written: list[bytes], pieces: list[int]
) -> None:
    log = tmp_path_factory.mktemp("log") / "mail.log"
    content = b"".join(line + b"\n" for line in written)
    got: list[bytes] = []
    reader = LogReader(log)
    for size in [*pieces, len(content)]:
        append(log, content[:size])
        content = content[size:]
        if chunk := reader.read():
            got += chunk.lines
            reader = LogReader(log)
            reader.resume(cursor_after(chunk))
    assert got == written
