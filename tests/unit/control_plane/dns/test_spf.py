"""SPF: whatever a customer has, ours is fitted in without changing what theirs means, and can be taken out again."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.dns.spf import SpfBroken, addresses_of, parse_spf, with_addresses, without_added

IPV4_ADDRESSES = st.integers(1, 2**32 - 2).map(lambda number: str(ipaddress.IPv4Address(number)))
ADDRESSES = IPV4_ADDRESSES | st.ip_addresses(v=6).map(str)
QUALIFIERS = st.sampled_from(["", "+", "-", "~", "?"])
MECHANISMS = st.one_of(
    st.sampled_from(
        ["a", "mx", "a:www.acme.example", "mx/24", "a/24//64", "include:_spf.other.example", "ptr", "ip6:2001:db8::/32"]
    ),
    st.builds("ip4:{}".format, IPV4_ADDRESSES),
    st.builds(lambda a, n: f"ip4:{ipaddress.IPv4Network((a, n), strict=False)}", IPV4_ADDRESSES, st.integers(8, 32)),
    st.just("exists:%{ir}.%{l1r-}.spf.acme.example"),
    st.just("all"),
)
TERMS = st.one_of(
    st.builds("{}{}".format, QUALIFIERS, MECHANISMS), st.sampled_from(["redirect=_spf.acme.example", "x-new=%{d}"])
)
RECORDS = (
    st.lists(TERMS, max_size=6)
    .filter(lambda terms: sum(term.startswith("redirect") for term in terms) < 2)
    .map(lambda terms: " ".join(["v=spf1", *terms]))
)


@given(record=RECORDS)
def test_what_is_read_is_written_again(record: str) -> None:
    assert str(parse_spf(record)) == record


@given(record=RECORDS, addresses=st.lists(ADDRESSES, min_size=1, max_size=4, unique=True))
def test_our_addresses_pass_and_all_that_was_there_still_is(record: str, addresses: list[str]) -> None:
    theirs = parse_spf(record)

    merged = with_addresses(theirs, addresses)

    assert all(merged.passes(address) for address in addresses)
    assert merged.terms[len(merged.terms) - len(theirs.terms) :] == theirs.terms
    assert with_addresses(merged, addresses) == merged


@given(record=RECORDS, addresses=st.lists(ADDRESSES, min_size=1, max_size=4, unique=True), stranger=ADDRESSES)
def test_nobody_else_passes_by_it(record: str, addresses: list[str], stranger: str) -> None:
    theirs = parse_spf(record)

    merged = with_addresses(theirs, addresses)

    assert stranger in addresses or merged.passes(stranger) == theirs.passes(stranger)


@given(record=RECORDS, addresses=st.lists(ADDRESSES, min_size=1, max_size=4, unique=True))
def test_what_was_put_in_can_be_taken_out(record: str, addresses: list[str]) -> None:
    theirs = parse_spf(record)
    merged = with_addresses(theirs, addresses)

    assert without_added(merged, theirs, merged) == theirs


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    try:
        record = parse_spf(f"v=spf1 {text}")
    except SpfBroken:
        return
    assert parse_spf(str(record)) == record


@pytest.mark.parametrize(
    "broken",
    [
        "v=spf10 -all",
        "v=spf1 ip4:192.0.2.1.",
        "v=spf1 ip4:192.0.2.0/33",
        "v=spf1 ip4:192.0.2.0/024",
        "v=spf1 ip4:2001:db8::1",
        "v=spf1 ip6:192.0.2.1",
        "v=spf1 ip4",
        "v=spf1 include",
        "v=spf1 include:",
        "v=spf1 include:-",
        "v=spf1 exists:%{z}.example",
        "v=spf1 exists:50%.example",
        "v=spf1 all:acme.example",
        "v=spf1 all/24",
        "v=spf1 include:a.example/24",
        "v=spf1 redirect=a.example redirect=b.example",
        "v=spf1 ipv4:192.0.2.1",
        "v=spf1 -al",
        "v=spf1 ~ all",
        "v=spf1 a\tmx",
        "v=spf1 a:bücher.example",
    ],
)
def test_a_broken_record_is_refused(broken: str) -> None:
    with pytest.raises(SpfBroken):
        parse_spf(broken)


def test_only_what_can_be_reached_counts() -> None:
    record = parse_spf("V=SPF1 exp=why.acme.example -ALL ip4:192.0.2.1 redirect=_spf.acme.example")

    assert [term.text for term in record.evaluated] == ["-ALL"]
    assert not record.passes("192.0.2.1")


@pytest.mark.parametrize("value", ["v=spf1 all", "v=spf1 +all", "v=spf1 mx ip4:0.0.0.0/0 -all", "v=spf1 ip6:::/0 -all"])
def test_who_passes_everybody_is_known(value: str) -> None:
    assert parse_spf(value).passes_everybody


def test_our_own_record_names_its_addresses() -> None:
    record = "v=spf1 ip4:192.0.2.7 ip4:192.0.2.8 ip6:2001:db8::7 ip4:192.0.2.0/24 ip6:2001:db8::/64 -ip4:192.0.2.9 ~all"
    assert addresses_of(record) == ("192.0.2.7", "192.0.2.8", "2001:db8::7")


def test_no_length_of_record_takes_long() -> None:
    value = "v=spf1 " + " ".join(["a:" + "%{l}." * 200 + "/" * 200, "include:" + "a." * 500 + "-"])
    with pytest.raises(SpfBroken, match=re.escape("a:")):
        parse_spf(value)
