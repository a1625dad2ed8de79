from email import policy
from email.message import MIMEPart

from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.messages.mime_body import alternatives, text_part

#: Bodies with line ends unified: no carriage return, NUL or half of a surrogate pair.
BODY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))
#: Bodies of which many need long lines broken or much encoded.
WIDE = st.lists(st.text("ab =.\té\x0b\x0c\x85\u2028日\n", max_size=200), max_size=12).map("".join)


def by_the_standard_library(text: str, subtype: str, encoding: str) -> MIMEPart:
    part = MIMEPart(policy=policy.SMTP)
    part.set_content(text, subtype=subtype, charset="utf-8", cte=encoding)
    return part


def encoding_of(part: bytes) -> str:
    return part.split(b"Content-Transfer-Encoding: ")[1].split(b"\r\n")[0].decode()


@given(text=BODY | WIDE)
@example(text="")
@example(text="\n")
@example(text="a\n\n")
@example(text="From here\n.\n..\n-- \n trailing \n\t\n")
@example(text="x" * 998)
@example(text="x" * 999)
@example(text="é" + "x" * 99_999)
@example(text="é" + "x" * 100_000)
@example(text="日本語\n" * 100)
@example(text="é\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029" + "a" * 60)
def test_a_part_is_written_as_the_standard_library_writes_it(text: str) -> None:
    part = text_part(text, "plain")
    assert part == by_the_standard_library(text, "plain", encoding_of(part)).as_bytes()


@given(plain=BODY | WIDE, html=BODY | WIDE)
def test_alternatives_are_written_as_the_standard_library_writes_them(plain: str, html: str) -> None:
    parts = text_part(plain, "plain"), text_part(html, "html")
    whole = MIMEPart(policy=policy.SMTP)
    whole.make_alternative(boundary="=_01934d3a7f107a2b8c3d4e5f60718293")
    for text, subtype, part in zip((plain, html), ("plain", "html"), parts, strict=True):
        whole.attach(by_the_standard_library(text, subtype, encoding_of(part)))
    assert alternatives(parts, "=_01934d3a7f107a2b8c3d4e5f60718293") == whole.as_bytes()
