import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.local.zones import REVERSE_ZONE, reverse_name


@given(st.ip_addresses(v=4, network="10.77.0.0/16"))
def test_a_servers_reverse_name_is_as_the_standard_library_has_it_and_in_the_zone(
    address: ipaddress.IPv4Address,
) -> None:
    assert reverse_name(str(address)) == f"{address.reverse_pointer}."
    assert reverse_name(str(address)).endswith(f".{REVERSE_ZONE}")
