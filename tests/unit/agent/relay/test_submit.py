import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.relay.replies import Reply
from agent.relay.submit import SmtpSession, envelope_commands, message_data


class SilentTransport(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 40000)})
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.aborted = True

    abort = close


def session(*answers: bytes, ended: bool = True) -> tuple[SmtpSession, SilentTransport]:
    smtp, transport = SmtpSession(), SilentTransport()
    smtp.connection_made(transport)
    for each in answers:
        smtp.data_received(each)
    if ended:
        smtp.eof_received()
    return smtp, transport


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
    smtp, _ = session(ended=False)
    # The alarm of an earlier, more patient wait must not hide this one.
    smtp.data_received(b"250 ok\r\n")
    waiting = asyncio.ensure_future(smtp.reply(60))
    assert await waiting == Reply(250, "ok")
    waiting = asyncio.ensure_future(smtp.reply(60))
    await asyncio.sleep(0)
    smtp.data_received(b"250 ok\r\n")
    assert await waiting == Reply(250, "ok")
    assert await smtp.reply(0.01) is None
    assert smtp.lost


@given(st.lists(st.integers(1, 9), max_size=12))
async def test_replies_may_come_in_any_pieces(sizes: list[int]) -> None:
    text = b"250-first\r\n250 second\r\n354 go on\r\n"
    pieces = []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    smtp, _ = session(*pieces, text)
    assert [await smtp.reply(), await smtp.reply()] == [Reply(250, "first second"), Reply(354, "go on")]


async def test_a_session_that_postfix_closes_while_it_rests_is_not_quiet() -> None:
    smtp, _ = session(ended=False)
    assert smtp.is_quiet
    smtp.data_received(b"421 4.4.2 mail.example.test Error: timeout exceeded\r\n")
    assert not smtp.is_quiet
    assert not session()[0].is_quiet


async def test_a_write_waits_while_postfix_does_not_read() -> None:
    smtp, transport = session(ended=False)
    smtp.pause_writing()
    writing = asyncio.ensure_future(smtp.write(b"MAIL FROM:<a@b>\r\n"))
    await asyncio.sleep(0)
    assert not writing.done()
    smtp.resume_writing()
    await writing
    assert transport.written == b"MAIL FROM:<a@b>\r\n"
    smtp.pause_writing()
    writing = asyncio.ensure_future(smtp.write(b"more"))
    await asyncio.sleep(0)
    smtp.connection_lost(None)
    await writing
    assert await smtp.reply() is None


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
