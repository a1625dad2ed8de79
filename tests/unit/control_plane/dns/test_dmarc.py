"""DMARC by RFC 9989: what counts for receivers, and what they pass over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.dns.dmarc import POLICIES, Dmarc, DmarcBroken, parse_dmarc
from control_plane.dns.records import DnsRecord, records_for_domain


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("v=DMARC1; p=reject", "reject"),
        ("v=DMARC1;p=Quarantine;sp=none;np=reject;adkim=s;aspf=r;fo=1:d;t=y;psd=n;", "quarantine"),
        ("v = DMARC1 ; p = none ; rua = mailto:a@acme.example!10m, mailto:b@acme.example", "none"),
        ("v=DMARC1; rua=mailto:a@acme.example", "none"),
        ("v=DMARC1; p=none; pct=50; rf=afrf; ri=3600", "none"),
        ("v=DMARC1; p=none; unheard=of", "none"),
    ],
)
def test_what_counts_is_read(value: str, policy: str) -> None:
    assert parse_dmarc(value).policy == policy


@pytest.mark.parametrize(
    "value",
    [
        "",
        "v=DMARC2; p=none",
        "v=dmarc1; p=none",
        "p=none; v=DMARC1",
        "v=DMARC1",
        "v=DMARC1; p=",
        "v=DMARC1; p=all",
        "v=DMARC1; p=none; p=reject",
        "v=DMARC1; p=none; sp=strict",
        "v=DMARC1; p=none; fo=2",
        "v=DMARC1; p=none; rua=dmarc@acme.example",
        "v=DMARC1; none",
    ],
)
def test_what_does_not_is_refused(value: str) -> None:
    with pytest.raises(DmarcBroken):
        parse_dmarc(value)


@given(text=st.text(max_size=60))
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    try:
        assert parse_dmarc(f"v=DMARC1;{text}").policy in POLICIES
    except DmarcBroken:
        return


def test_our_own_record_counts() -> None:
    records = records_for_domain("acme.example", "mx-1.penguin.example", ["192.0.2.7"], [])
    (ours,) = [record for record in records if isinstance(record, DnsRecord) and record.name == "_dmarc"]

    assert parse_dmarc(ours.value) == Dmarc("none", ("mailto:dmarc@acme.example",))
