"""Which IP addresses a tenant's URL may lead to: those that anybody on the Internet may be meant by, and no others."""

import ipaddress

#: The only part of IPv6 that is given out to the public (RFC 4291, section 2.4; IANA).
_UNICAST = ipaddress.IPv6Network("2000::/3")
#: Not public for all that, or holding an IPv4 address by which a private one could be meant: protocol assignments with
#: Teredo and ORCHID (RFC 2928), documentation (RFC 3849, RFC 9637), 6to4 (RFC 3056).
_NOT_PUBLIC = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16")))
#: The relays of 6to4 (RFC 7526), and what Python's table knows in some versions only (RFC 6890).
_NOT_PUBLIC_4 = tuple(map(ipaddress.IPv4Network, ("192.88.99.0/24", "192.0.0.0/24")))


def is_public(text: str) -> bool:
    """Return whether this is the address of anybody on the Internet; what is no address is not.

    NAT64 (64:ff9b::/96, 64:ff9b:1::/48) and IPv4-mapped addresses lie outside of 2000::/3.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in net for net in _NOT_PUBLIC_4)
    return address.scope_id is None and address in _UNICAST and not any(address in net for net in _NOT_PUBLIC)
