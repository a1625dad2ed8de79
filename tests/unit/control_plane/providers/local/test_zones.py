import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.local.network import NETWORK_V6
from control_plane.providers.local.zones import REVERSE_ZONE, REVERSE_ZONE_V6, reverse_name


@given(st.ip_addresses(v=4, network="10.77.0.0/16"))
def test_a_servers_reverse_name_is_in_the_zone(address: ipaddress.IPv4Address) -> None:
    assert reverse_name(str(address)).endswith(f".{REVERSE_ZONE}")


@given(st.ip_addresses(v=6, network=str(NETWORK_V6)))
def test_the_reverse_name_of_its_ipv6_address_is_in_the_other(address: ipaddress.IPv6Address) -> None:
    name = reverse_name(str(address))
    assert name.endswith(f".{REVERSE_ZONE_V6}")
    assert name.count(".") == 32 + 2
