import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from control_plane.dns.records import (
    DkimRecordKey,
    DnsRecord,
    records_for_domain,
    records_for_inbox,
    records_for_server,
)

KEY = DkimRecordKey("pm1", "MIIBIjANBgkq")


def test_an_inbox_needs_these_records() -> None:
    records = records_for_inbox("acme.example", "mx-1.penguin.example", "192.0.2.7", ["192.0.2.7"], [KEY])

    assert records == (
        DnsRecord("acme.example", "MX", "@", "10 mx-1.penguin.example"),
        DnsRecord("acme.example", "TXT", "@", "v=spf1 ip4:192.0.2.7 ~all"),
        DnsRecord("acme.example", "TXT", "pm1._domainkey", "v=DKIM1; k=rsa; p=MIIBIjANBgkq"),
        DnsRecord("acme.example", "TXT", "_dmarc", "v=DMARC1; p=none; rua=mailto:dmarc@acme.example"),
        DnsRecord("penguin.example", "A", "mx-1", "192.0.2.7"),
        DnsRecord("penguin.example", "TXT", "mx-1", "v=spf1 a -all"),
        DnsRecord("2.0.192.in-addr.arpa", "PTR", "7", "mx-1.penguin.example"),
    )


def test_the_reverse_name_is_the_addresss_own() -> None:
    pointer = records_for_server("mx-1.penguin.example", "192.0.2.7")[-1]

    assert pointer.fqdn == ipaddress.ip_address("192.0.2.7").reverse_pointer


@given(st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=8))
def test_all_servers_of_a_domain_stand_in_one_spf_record(addresses: list[str]) -> None:
    records = records_for_domain("acme.example", "mx-1.penguin.example", addresses, [KEY])

    (spf,) = [record.value for record in records if record.value.startswith("v=spf1")]
    assert {f"ip4:{address}" for address in addresses} == set(spf.split()[1:-1])
    assert len(spf.split()) == len(set(addresses)) + 2
