import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import InvalidInput
from control_plane.inboxes.addresses import parse_address, parse_domain, parse_mailbox_address


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("anna@example.org", "anna@example.org"),
        ("Anna.Berg+x@EXAMPLE.org", "Anna.Berg+x@example.org"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@bu\N{COMBINING DIAERESIS}CHER.example", "a@xn--bcher-kva.example"),
        ('"a b"@example.org', '"a b"@example.org'),
        ('"a@b"@example.org', '"a@b"@example.org'),
        (r'"a\"b"@example.org', r'"a\"b"@example.org'),
        ("!#$%&'*+/=?^_`{|}~-@example.org", "!#$%&'*+/=?^_`{|}~-@example.org"),
        (f"{'a' * 64}@example.org", f"{'a' * 64}@example.org"),
    ],
)
def test_an_address_is_taken_and_its_domain_made_fit_for_smtp(written: str, parsed: str) -> None:
    assert str(parse_address(written, "/to")) == parsed


@pytest.mark.parametrize(
    "written",
    [
        "",
        "@",
        "anna",
        "anna@",
        "@example.org",
        "anna@example",
        "anna@localhost",
        "anna@example..org",
        "anna@.example.org",
        "anna@example.org.",
        "anna@-example.org",
        "anna@exam_ple.org",
        "anna@192.0.2.1",
        "anna@[192.0.2.1]",
        ".anna@example.org",
        "anna.@example.org",
        "an..na@example.org",
        "an na@example.org",
        " anna@example.org",
        "anna@example.org ",
        "anna@example.org\r\nRCPT TO:<eve@example.org>",
        "an\nna@example.org",
        "anna\0@example.org",
        '"an\nna"@example.org',
        '"anna@example.org',
        "Anna <anna@example.org>",
        "anna@example.org,eve@example.org",
        "änna@example.org",
        "anna@☃.example",
        "anna@xn--zzzzzz.example",
        f"{'a' * 65}@example.org",
        f"anna@{'a' * 64}.org",
        f"anna@{'a.' * 125}org",
    ],
)
def test_what_is_no_address_is_refused_by_name_of_the_field(written: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_address(written, "/to")
    assert refused.value.field == "/to"


@pytest.mark.parametrize(
    "written",
    ["änna@example.org", "a\N{COMBINING DIAERESIS}nna@example.org", "\N{FULLWIDTH LATIN SMALL LETTER A}@x.org"],
)
def test_an_address_of_smtputf8_is_refused_by_that_name(written: str) -> None:
    with pytest.raises(InvalidInput, match="SMTPUTF8"):
        parse_address(written, "/to")


@given(st.text())
def test_whatever_is_taken_is_printable_ascii_without_brackets_outside_quotes(written: str) -> None:
    try:
        parsed = parse_address(f"{written}@example.org", "/to")
    except InvalidInput:
        return
    assert all(" " <= character <= "~" for character in str(parsed))
    assert parsed.local_part.startswith('"') or not set("<>@ ,;:()[]") & set(parsed.local_part)


@given(st.text(min_size=1))
def test_a_domain_that_is_taken_is_taken_again_unchanged(written: str) -> None:
    try:
        parsed = parse_domain(f"{written}.example", "/to")
    except InvalidInput:
        return
    assert parse_domain(parsed, "/to") == parsed


@pytest.mark.parametrize("written", ["sales@example.org", "Sales.Team-2_x@example.org", "7@example.org"])
def test_a_mailbox_of_ours_is_lower_case(written: str) -> None:
    assert str(parse_mailbox_address(written, "/email_address")) == written.lower()


@pytest.mark.parametrize("name", ["a+b", "a/b", "'a", "..", "a..b", ".a", "a.", "-a", "{a}", "*", '"a b"', "$(id)"])
def test_a_mailbox_of_ours_has_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_mailbox_address(f"{name}@example.org", "/email_address")
