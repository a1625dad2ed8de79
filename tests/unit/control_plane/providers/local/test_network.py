import ipaddress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.base import ProviderError
from control_plane.providers.local import network
from control_plane.providers.local.network import (
    FIRST_SERVER,
    GATEWAY,
    LAST_SERVER,
    NAMESERVER,
    NETWORK,
    NETWORK_V6,
    cable_of,
    ipv6_of,
    lowest_free,
    mac_of,
)

addresses = st.integers(int(FIRST_SERVER), int(LAST_SERVER)).map(ipaddress.IPv4Address)


@given(st.sets(addresses, max_size=50))
def test_a_new_server_gets_the_lowest_address_that_nobody_has(taken: set[ipaddress.IPv4Address]) -> None:
    found = lowest_free(taken)
    assert found not in taken
    assert found in NETWORK
    assert found not in {GATEWAY, NAMESERVER}
    assert all(ipaddress.IPv4Address(lower) in taken for lower in range(int(FIRST_SERVER), int(found)))


def test_the_last_address_can_be_had_and_then_there_are_none() -> None:
    first, last = FIRST_SERVER, FIRST_SERVER + 1
    assert lowest_free({first}, first, last) == last
    with pytest.raises(ProviderError, match="out of addresses: 2"):
        lowest_free({first, last}, first, last)


@given(addresses, addresses)
def test_cables_and_macs_are_as_different_as_addresses(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    assert (cable_of(one) == cable_of(other)) == (one == other)
    assert (mac_of(one) == mac_of(other)) == (one == other)
    assert len(cable_of(one)) <= 15


@pytest.mark.parametrize("setting", ["0\n", "1\n", None])
@given(one=addresses, other=addresses)
def test_each_machine_has_an_ipv6_address_of_its_own_where_the_kernel_lets_it(
    setting: str | None, one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    with TemporaryDirectory() as folder, patch.object(network, "_IPV6_IS_OFF", Path(folder) / "disable_ipv6"):
        if setting is not None:
            (Path(folder) / "disable_ipv6").write_text(setting)
        if setting == "0\n":
            assert ipv6_of(one) in NETWORK_V6
            assert (ipv6_of(one) == ipv6_of(other)) == (one == other)
        else:
            assert ipv6_of(one) is None


def test_a_mac_is_locally_administered_and_made_of_the_address() -> None:
    assert mac_of(ipaddress.IPv4Address("10.77.1.10")) == "02:00:0a:4d:01:0a"
