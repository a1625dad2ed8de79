import datetime as dt
import email
import time
import uuid
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.errors import InvalidInput, TooLarge
from control_plane.inboxes.addresses import parse_address
from control_plane.messages.compose import MAX_MESSAGE, Draft, compose, renamed

SEND_ID = uuid.UUID("01934d3a-7f10-7a2b-8c3d-4e5f60718293")
DATE = dt.datetime(2026, 11, 21, 9, 30, tzinfo=dt.UTC)

#: Text as JSON can carry it, without what is refused.
BODY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))
HEADER = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=400)


def composed(
    *,
    subject: str = "Hello",
    text: str | None = "Hello\n",
    html: str | None = None,
    display_name: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    recipient: str = "anna@example.net",
) -> bytes:
    sender = parse_address("sales@example.org", "/from")
    draft = Draft(sender, display_name, parse_address(recipient, "/to"), subject, text, html, headers)
    return compose(draft, SEND_ID, DATE)


def read(message: bytes) -> EmailMessage:
    return email.message_from_bytes(message, policy=policy.SMTP)


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert isinstance(body, EmailMessage)
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


def assert_fit_for_smtp(message: bytes) -> None:
    assert message.isascii()
    assert message.endswith(b"\r\n")
    assert b"\0" not in message
    rest = message.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    assert max(map(len, message.split(b"\r\n"))) <= 998


def test_a_plain_message_is_written_to_the_letter() -> None:
    assert composed(display_name="Sales Team").decode() == (
        "From: Sales Team <sales@example.org>\r\n"
        "To: anna@example.net\r\n"
        "Subject: Hello\r\n"
        "Date: Sat, 21 Nov 2026 09:30:00 +0000\r\n"
        "Message-ID: <01934d3a-7f10-7a2b-8c3d-4e5f60718293@example.org>\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: text/plain; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "Hello\r\n"
    )


@given(subject=HEADER, display_name=HEADER)
@example(subject="=?utf-8?q?not_encoded?=", display_name='a "b" \\ c')
@example(subject="x" * 400, display_name="ü" * 200)
@example(subject="a" + " " * 300 + "b", display_name="Penguin, Inc.")
def test_headers_come_back_as_they_were_written(subject: str, display_name: str) -> None:
    message = composed(subject=subject, display_name=display_name)
    assert_fit_for_smtp(message)
    read_back = read(message)
    # compat32 gives the field's raw value, unfolded by make_header's decoder as a receiver would.
    raw = email.message_from_bytes(message, policy=policy.compat32)
    assert str(make_header(decode_header(raw["Subject"].replace("\r\n", "")))) == subject.strip(" \t")
    sender = read_back["From"].addresses[0]
    assert (sender.addr_spec, read_back["From"].defects) == ("sales@example.org", ())


@given(display_name=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_a_display_name_comes_back(display_name: str) -> None:
    sender = read(composed(display_name=display_name))["From"].addresses[0]
    assert " ".join(sender.display_name.split()) == " ".join(display_name.split())


def test_a_display_name_in_another_script_comes_back() -> None:
    assert (
        read(composed(display_name="Müller & Söhne, 東京"))["From"].addresses[0].display_name == "Müller & Söhne, 東京"
    )


@given(subject=st.text(st.characters(min_codepoint=0xA1, exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=30))
def test_encoded_words_have_at_most_75_characters(subject: str) -> None:
    head = composed(subject=subject).split(b"\r\nDate:")[0]
    words = head.split(b"Subject:")[1].split()
    assert all(word.startswith(b"=?utf-8?") and len(word) <= 75 for word in words)


@given(text=BODY, html=st.none() | BODY)
@example(text="x" * 999, html="é" * 500)
@example(text="a\r\nb\nc\n\n.\n..\nFrom here\n \n", html=None)
@example(text="日本語" * 500, html="<p>" + "ä" * 2000)
def test_bodies_come_back_whatever_they_hold(text: str, html: str | None) -> None:
    message = composed(text=text, html=html)
    assert_fit_for_smtp(message)
    read_back = read(message)
    assert part(read_back, "plain").rstrip("\n") == text.replace("\r\n", "\n").rstrip("\n")
    if html is not None:
        assert part(read_back, "html").rstrip("\n") == html.replace("\r\n", "\n").rstrip("\n")


def test_text_and_html_are_alternatives_with_the_plain_one_first() -> None:
    message = read(composed(text="Hello", html="<p>Hello</p>"))
    assert message.get_content_type() == "multipart/alternative"
    assert [p.get_content_type() for p in message.iter_parts()] == ["text/plain", "text/html"]


def test_the_same_draft_gives_the_same_bytes() -> None:
    assert composed(html="<p>Hi</p>") == composed(html="<p>Hi</p>")


@pytest.mark.parametrize("text", ["one\rtwo", "one\r\r\ntwo", "one\0two", "\r"])
def test_a_bare_carriage_return_or_nul_in_a_body_is_refused(text: str) -> None:
    for field in ("text", "html"):
        with pytest.raises(InvalidInput) as refused:
            composed(text=text) if field == "text" else composed(html=text)
        assert refused.value.field == f"/{field}"


def test_a_message_without_a_body_is_refused() -> None:
    with pytest.raises(InvalidInput):
        composed(text=None)


BREAKS = ["a\r\nBcc: eve@example.net", "a\nb", "a\rb", "a\0b", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "a\x7fb"]


@pytest.mark.parametrize("value", BREAKS)
def test_a_line_break_in_a_header_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match="line breaks"):
        composed(subject=value)
    with pytest.raises(InvalidInput, match="line breaks"):
        composed(display_name=value)
    with pytest.raises(InvalidInput, match="line breaks"):
        composed(headers=(("X-Campaign", value),))


@pytest.mark.parametrize(
    "name",
    ["From", "to", "DATE", "Message-ID", "DKIM-Signature", "Received", "Content-Type", "Bcc", "Cc", "Sender",
     "Return-Path", "MIME-Version", "Subject", "X-Ok: a\r\nBcc", "X-A B", "X-", "x", "", "X-Ä", "List-A:"],
)  # fmt: skip
def test_a_header_that_is_not_the_tenants_to_set_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="may not be set"):
        composed(headers=((name, "value"),))


def test_a_header_may_be_set_once() -> None:
    with pytest.raises(InvalidInput, match="once"):
        composed(headers=(("X-A", "1"), ("x-a", "2")))


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("X-Campaign", "spring 2026", "X-Campaign: spring 2026"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click", "List-Unsubscribe-Post: List-Unsubscribe=One-Click"),
        ("In-Reply-To", "<a@example.net>", "In-Reply-To: <a@example.net>"),
        ("Reply-To", "a@bücher.example", "Reply-To: a@xn--bcher-kva.example"),
        ("Reply-To", 'A B <a@b.example>, "C, \\"D\\"" <c@d.example>,e@f.example',
         'Reply-To: A B <a@b.example>, "C, \\"D\\"" <c@d.example>, e@f.example'),
        ("Reply-To", "Jörg <j@example.net>", "Reply-To: =?utf-8?b?SsO2cmc=?= <j@example.net>"),
    ],
)  # fmt: skip
def test_an_allowed_header_is_written(name: str, value: str, written: str) -> None:
    assert f"\r\n{written}\r\n" in composed(headers=((name, value),)).decode()


def test_a_long_url_is_folded_nowhere_and_encoded_nowhere() -> None:
    url = f"<https://example.org/{'u' * 300}>"
    message = composed(headers=(("List-Unsubscribe", f"{url}, <mailto:leave@example.org>"),)).decode()
    assert f"List-Unsubscribe: {url},\r\n <mailto:leave@example.org>\r\n" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("List-Id", "Bücher"),
        ("List-Id", "x" * 1000),
        ("References", "no message id"),
        ("In-Reply-To", "<a b@example.net>"),
        ("Reply-To", "nobody"),
        ("Reply-To", "a@b.example,"),
        ("Reply-To", "a@b.example c@d.example"),
        ("Reply-To", "(" * 900),
        ("Reply-To", "A <a@b.example"),
        ("Reply-To", '"open <a@b.example>'),
        ("X-Empty", " "),
    ],
)
def test_a_header_with_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        composed(headers=((name, value),))
    assert refused.value.field == f"/headers/{name}"


@pytest.mark.parametrize(
    ("name", "value"), [("Reply-To", "x" + " " * 100_000 + "@"), ("References", "<" + "@" * 100_000)]
)
def test_no_value_is_looked_through_for_long(name: str, value: str) -> None:
    began = time.thread_time()
    with pytest.raises(InvalidInput):
        composed(headers=((name, value),))
    assert time.thread_time() - began < 2.0


@given(value=HEADER.filter(lambda text: text.strip(" \t") != ""))
def test_a_free_header_never_breaks_the_message(value: str) -> None:
    message = composed(headers=(("X-Any", value),))
    assert_fit_for_smtp(message)
    assert read(message).keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "X-Any", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding",
    ]  # fmt: skip


@given(value=st.text(max_size=200))
def test_any_reply_to_is_taken_whole_or_refused(value: str) -> None:
    try:
        message = composed(headers=(("Reply-To", value),))
    except InvalidInput:
        return
    assert_fit_for_smtp(message)
    assert read(message)["Reply-To"].defects == ()


def test_the_date_is_the_moment_given() -> None:
    assert parsedate_to_datetime(str(read(composed())["Date"])) == DATE


@given(text=BODY, subject=HEADER, headers=st.just(()) | st.just((("X-Date", "Date: x"), ("X-Message-ID", "y"))))
@example(text="Date: x\r\nMessage-ID: y\r\n\r\nDate: x", subject="Date: x", headers=())
def test_a_renamed_message_is_as_if_composed_for_the_other_send(
    text: str, subject: str, headers: tuple[tuple[str, str], ...]
) -> None:
    draft = Draft(parse_address("sales@example.org", "/from"), "", parse_address("anna@example.net", "/to"), subject,
                  text, None, headers)  # fmt: skip
    other, later = uuid.UUID(int=7), DATE + dt.timedelta(days=400)
    assert renamed(compose(draft, SEND_ID, DATE), other, "example.org", later) == compose(draft, other, later)


def test_a_message_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        composed(text="x" * 70 + ("\n" + "x" * 70) * (MAX_MESSAGE // 71))
