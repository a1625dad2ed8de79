"""Where callers come from, and the networks that a key may be bound to."""

import ipaddress
from collections.abc import Iterable

from control_plane.errors import InvalidInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_of(host: str | None) -> Address | None:
    """Return a peer's address; IPv4 inside IPv6 (::ffff:192.0.2.1) is IPv4. None for what is no address."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def parse_network(text: str, field: str) -> Network:
    """Return an address or a network such as 192.0.2.0/24; raise `InvalidInput`, also for bits beyond its length."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no IP address and no network such as 192.0.2.0/24.", field) from None


def lies_in(address: Address | None, networks: Iterable[Network]) -> bool:
    """Return whether one of the networks holds the address; an address that is not known lies in none."""
    return address is not None and any(address in network for network in networks)


def is_within(network: Network, others: Iterable[Network]) -> bool:
    """Return whether one of the other networks holds the whole of this one."""
    return any(
        other.version == network.version and other.supernet_of(network)  # type: ignore[arg-type]  # same version
        for other in others
    )
