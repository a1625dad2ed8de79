import contextlib
import datetime as dt
import email
import time
import uuid
from email import policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import InvalidInput, TooLarge
from control_plane.messages.compose import MAX_MESSAGE, compose_written, renamed
from control_plane.messages.written import read_written

ID = uuid.UUID(int=7)
NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
PLAIN = b"From: Sales <sales@penguin.example>\r\nTo: anna@example.net\r\nSubject: Fish\r\n\r\nHello\r\n"


def composed(data: bytes) -> EmailMessage:
    written = read_written(data)
    message = email.message_from_bytes(compose_written(written, ID, written.sender.domain, NOON), policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def test_date_and_message_id_are_ours_and_the_rest_stays() -> None:
    data = b"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\nMessage-ID: <1@old.example>\r\nX-Campaign: 7\r\n" + PLAIN
    written = read_written(data)
    assert (str(written.sender), written.subject, written.message_id) == (
        "sales@penguin.example", "Fish", "<1@old.example>",
    )  # fmt: skip
    message = composed(data)
    assert message.get_all("Message-ID") == [f"<{ID}@penguin.example>"]
    assert message.get_all("Date") == ["Sun, 22 Nov 2026 12:00:00 +0000"]
    assert (message["X-Campaign"], message["To"], message.get_content()) == ("7", "anna@example.net", "Hello\r\n")


@pytest.mark.parametrize(
    "field", ["Bcc: boss@example.net", "Received: from here", "DKIM-Signature: v=1", "Sender: a@b.example", "Foo: 1"]
)
def test_what_is_not_for_the_recipient_is_left_out(field: str) -> None:
    message = composed(field.encode() + b"\r\n folded\r\n" + PLAIN)
    assert field.partition(":")[0] not in message
    assert message["From"] == "Sales <sales@penguin.example>"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no header"),
        (b"Hello\r\n", "no header"),
        (b"Subject: x\r\n\r\nHello\r\n", "no field From"),
        (b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n", "more than once"),
        (b"From: a@b.example, c@d.example\r\n\r\n", "one address"),
        (b"From: a@b.example\r\n\r\nHello\nthere\r\n", "no line's end"),
        (b"From: a@b.example\r\n\r\nHello\rthere\r\n", "no line's end"),
        (b"From: a@b.example\r\n\r\nHello\0\r\n", "NUL"),
        (b"From: a@b.example\r\nX-A: \x01\r\n\r\n", "control"),
        (b"From: a@b.example\r\nSubject: M\xc3\xb6we\r\n\r\n", "not ASCII"),
        (b"From: a@b.example\r\n\r\n" + b"x" * 999, "longer than 998"),
        (b"From: a@b.example\r\n\r\nM\xc3\xb6we\r\n", "names no charset"),
        (b"From: a@b.example\r\nContent-Type: text/plain; charset=ascii\r\n\r\nM\xc3\xb6we\r\n", "names no charset"),
        (b"From: a@b.example\r\n" + b"X-A: 1\r\n" * 40_000 + b"\r\n", "262144 are allowed"),
        (b"From: a@b.example\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 500 + b"M\xc3\xb6we\r\n", "20 parts"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_written(data)


def test_text_of_eight_bits_is_encoded_and_says_the_same() -> None:
    head = b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n'
    message = composed(head + PLAIN + "Möwe\r\n".encode())
    assert message.as_bytes().isascii()
    assert message.get_content() == "Hello\r\nMöwe\r\n"


def test_an_encoded_subject_is_kept_for_people_to_read() -> None:
    assert read_written(PLAIN.replace(b"Fish", b"=?utf-8?q?F=C3=BCsch=0A?=")).subject == "Füsch "
    assert read_written(PLAIN.replace(b"Fish", b"=?nowhere?q?F?=")).subject == "=?nowhere?q?F?="


@pytest.mark.parametrize(
    "head",
    [
        b"From: a@b.example\r\nSubject:" + (b" " + b"=?a?q?b" * 100 + b"\r\n") * 300,
        b"From: a" + (b"\r\n" + b" " * 900) * 250 + b"@",
    ],
)
def test_no_header_is_looked_through_for_long(head: bytes) -> None:
    began = time.thread_time()
    with contextlib.suppress(InvalidInput):
        read_written(head.rstrip() + b"\r\n\r\n")
    assert time.thread_time() - began < 2.0


def test_a_message_beyond_the_limit_is_refused() -> None:
    written = read_written(PLAIN + b"line\r\n" * (MAX_MESSAGE // 6))
    with pytest.raises(TooLarge):
        compose_written(written, ID, "penguin.example", NOON)


def test_a_resend_renames_a_written_message() -> None:
    first = compose_written(read_written(b"message-id: <a@b>\r\ndate: never\r\n" + PLAIN), ID, "penguin.example", NOON)
    second = renamed(first, uuid.UUID(int=8), "penguin.example", NOON)
    assert second == first.replace(str(ID).encode(), str(uuid.UUID(int=8)).encode())


@given(st.binary(max_size=300))
def test_whatever_comes_is_sent_clean_or_refused(data: bytes) -> None:
    try:
        written = read_written(b"From: a@b.example\r\n" + data)
    except InvalidInput:
        return
    sent = compose_written(written, ID, "b.example", NOON)
    assert sent.isascii()
    assert b"\n" not in sent.replace(b"\r\n", b"")
    assert max(map(len, sent.split(b"\r\n"))) <= 998
