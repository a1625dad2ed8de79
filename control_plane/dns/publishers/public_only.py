"""Keep what tenants name from reaching into our own network: nothing is sent to an address that is not public.

The name is resolved once, judged, and connected to by that very address, so a name that answers differently the next
time gains nothing; TLS still asks for the name. Redirects come through here again.
"""

import ipaddress
import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from control_plane.dns.plan import PublisherNeedsPerson

# Addresses that hold others, by which a private one could be meant (RFC 6052, RFC 3056, RFC 4380).
_HOLDERS = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))


def is_public(text: str) -> bool:
    """Return whether an IP address is one that anybody on the Internet may be meant by."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(str(address.ipv4_mapped))
        if any(address in network for network in _HOLDERS):
            return False
    return address.is_global and not address.is_multicast


def public_address(host: str) -> str:
    """Return an address of `host`; raise `PublisherNeedsPerson` when any that it has is not public, and `OSError`."""
    found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    if not all(map(is_public, found)):
        raise PublisherNeedsPerson(f"the DNS host {host} has an address that is not public, and may not be used")
    return found[0]


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self, super()._new_conn)


class _Tls(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self, super()._new_conn)


def _connected(connection: Any, connect: Any) -> socket.socket:  # noqa: ANN401 - urllib3's own, which are not public
    name = connection._dns_host  # noqa: SLF001 - what is resolved, apart from what TLS asks for
    connection._dns_host = public_address(name)  # noqa: SLF001
    try:
        made: socket.socket = connect()
        return made
    finally:
        connection._dns_host = name  # noqa: SLF001


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class PublicOnly(HTTPAdapter):
    """For a session of requests: connects to public addresses and to no others."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - handed on as they are
        """Make the pools with connections that judge."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
