import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.relay.submit import Reply, SmtpSession, envelope_commands, message_data


class SilentWriter:
    """Takes what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.transport = self
        self.aborted = False

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("127.0.0.1", 40000)

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        if self.aborted:
            raise ConnectionResetError

    def close(self) -> None:
        self.aborted = True

    abort = close


def session(answers: bytes) -> tuple[SmtpSession, SilentWriter]:
    reader, writer = asyncio.StreamReader(), SilentWriter()
    reader.feed_data(answers)
    reader.feed_eof()
    return SmtpSession(reader, cast("Any", writer)), writer


async def test_replies_are_read_one_by_one() -> None:
    smtp, _ = session(b"250-first\r\n250 second\r\n354 go on\r\n")
    assert await smtp.reply() == Reply(250, "first second")
    assert await smtp.reply() == Reply(354, "go on")
    assert await smtp.reply() is None
    assert smtp.lost


@pytest.mark.parametrize(
    "answers",
    [b"", b"250", b"250 no end", b"250 bare\n", b"hello\r\n", b"199 x\r\n", b"250-a\r\n251 b\r\n", b"250-x\r\n" * 200],
)
async def test_what_is_no_smtp_loses_the_session(answers: bytes) -> None:
    smtp, writer = session(answers)
    assert await smtp.reply() is None
    assert smtp.lost
    assert writer.aborted


async def test_a_lost_session_writes_nothing_and_answers_none() -> None:
    smtp, writer = session(b"250 ok\r\n")
    smtp.close()
    await smtp.write(b"MAIL FROM:<a@b>\r\n")
    assert writer.written == b""
    assert await smtp.reply() is None


async def test_a_reply_that_takes_too_long_loses_the_session() -> None:
    smtp = SmtpSession(asyncio.StreamReader(), cast("Any", SilentWriter()))
    assert await smtp.reply(0.01) is None
    assert smtp.lost


@pytest.mark.parametrize(
    ("text", "queue_id"),
    [("2.0.0 Ok: queued as 4jX4hz6SLnzCy", "4jX4hz6SLnzCy"), ("2.0.0 Ok", None), ("Ok: queued as", None)],
)
def test_the_queue_id_is_in_the_reply(text: str, queue_id: str | None) -> None:
    assert Reply(250, text).queue_id == queue_id


def test_the_commands_of_an_envelope_are_one_write() -> None:
    assert envelope_commands("a@b.test", "c@d.test") == b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"


@given(st.lists(st.text(alphabet="a. ", max_size=5), max_size=8))
def test_a_message_arrives_as_it_was(lines: list[str]) -> None:
    message = "".join(line + "\r\n" for line in lines).encode()
    data = message_data(message)
    assert data.endswith(b".\r\n")
    received = data.split(b"\r\n")
    end = received.index(b".")
    assert received[end + 1 :] == [b""]
    unstuffed = [line.removeprefix(b".") for line in received[:end]]
    assert b"".join(line + b"\r\n" for line in unstuffed) == message
