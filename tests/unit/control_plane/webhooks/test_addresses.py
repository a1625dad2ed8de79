import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.webhooks.addresses import is_public

CLOSED_4 = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4"),
)
CLOSED_6 = ("::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8")
HELD_6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")


@given(st.sampled_from(CLOSED_4).flatmap(lambda network: st.ip_addresses(v=4, network=network)))
def test_nothing_of_the_special_networks_is_public(address: ipaddress.IPv4Address) -> None:
    assert not is_public(str(address))


@given(st.sampled_from(CLOSED_6 + HELD_6).flatmap(lambda network: st.ip_addresses(v=6, network=network)))
def test_nothing_of_those_of_version_6_is(address: ipaddress.IPv6Address) -> None:
    assert not is_public(str(address))


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_never_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    mapped, compatible = ipaddress.IPv6Address(0xFFFF << 32 | number), ipaddress.IPv6Address(number)
    nat64 = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number)
    sixtofour = ipaddress.IPv6Address(0x2002 << 112 | number << 80)
    assert not any(is_public(str(each)) for each in (mapped, compatible, nat64, sixtofour))


@given(st.ip_addresses(v=4))
def test_whatever_is_public_lies_in_no_closed_network(address: ipaddress.IPv4Address) -> None:
    closed = any(address in ipaddress.ip_network(network) for network in CLOSED_4)
    assert is_public(str(address)) == (not closed)


@given(st.text(max_size=40))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert is_public(text) in {True, False}


@pytest.mark.parametrize("text", ["", "localhost", "2130706433", "127.1", "2606:4700::1%eth0", "1.1.1.1 "])
def test_what_is_not_plainly_an_address_is_not_public(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize("text", ["1.1.1.1", "9.9.9.9", "2606:4700:4700::1111", "2a00:1450::1"])
def test_addresses_of_anybody_are_public(text: str) -> None:
    assert is_public(text)
