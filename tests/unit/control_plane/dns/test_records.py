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
from control_plane.dns.spf import parse_spf

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


def test_a_server_with_two_addresses_is_named_by_both_ways() -> None:
    records = records_for_server("mx-1.penguin.example", "192.0.2.7", "2001:db8::7")

    assert {(record.type, record.fqdn, record.value) for record in records} == {
        ("A", "mx-1.penguin.example", "192.0.2.7"),
        ("AAAA", "mx-1.penguin.example", "2001:db8::7"),
        ("TXT", "mx-1.penguin.example", "v=spf1 a -all"),
        ("PTR", "7.2.0.192.in-addr.arpa", "mx-1.penguin.example"),
        ("PTR", "7" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa", "mx-1.penguin.example"),
    }


@given(st.ip_addresses().map(str))
def test_the_reverse_name_is_the_addresss_own(address: str) -> None:
    pointer = records_for_server("mx-1.penguin.example", "192.0.2.7", address)[-1]

    assert pointer.fqdn == ipaddress.ip_address(address).reverse_pointer


@given(st.lists(st.ip_addresses().map(str), min_size=1, max_size=8))
def test_all_servers_of_a_domain_stand_in_one_spf_record(addresses: list[str]) -> None:
    records = records_for_domain("acme.example", "mx-1.penguin.example", addresses, [KEY])

    (spf,) = [record.value for record in records if record.value.startswith("v=spf1")]
    assert {f"ip{6 if ':' in address else 4}:{address}" for address in addresses} == set(spf.split()[1:-1])
    assert all(parse_spf(spf).passes(address) for address in addresses)
    assert len(spf.split()) == len(set(addresses)) + 2
