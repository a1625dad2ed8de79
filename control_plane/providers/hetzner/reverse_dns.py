"""The PTR of a server's addresses: set where it differs, and read back before it counts as set."""

import ipaddress

from hcloud.servers import BoundServer

from control_plane.providers.base import ProviderBusy, ProviderError
from control_plane.providers.hetzner.client import Operation
from control_plane.providers.hetzner.extra_addresses import point_extra_address
from control_plane.providers.hetzner.servers import existing
from control_plane.providers.hetzner.view import failure

#: What an IPv4 address is called as long as nobody has set anything.
_OWN_SUFFIX = ".clients.your-server.de"


def set_reverse_dns(operation: Operation, name: str, address: str, hostname: str | None) -> None:
    """Set the PTR of one of the server's addresses, or with None give the provider's own back."""
    server = existing(operation, name)
    if not _owns(server, address) and point_extra_address(operation, name, address, hostname):
        return
    if _pointer(server, address) == hostname:
        return
    action = server.change_dns_ptr(str(ipaddress.ip_address(address)), hostname)
    if action.status == "error":
        raise ProviderError(failure(action))
    if _pointer(existing(operation, name), address) != hostname:
        raise ProviderBusy(f"Hetzner is setting the PTR of {address}", 1.0)


def reverse_dns(operation: Operation, name: str, address: str) -> str | None:
    """Return the PTR of one of the server's addresses, or None when nobody has set one."""
    return _pointer(existing(operation, name), address)


def _owns(server: BoundServer, address: str) -> bool:
    public = server.public_net
    if public is None:
        return False
    asked = ipaddress.ip_address(address)
    return any(asked in ipaddress.ip_network(each.ip) for each in (public.ipv4, public.ipv6) if each is not None)


def _pointer(server: BoundServer, address: str) -> str | None:
    public = server.public_net
    if public is not None and public.ipv4 is not None and public.ipv4.ip == address:
        pointer = public.ipv4.dns_ptr
        return None if not pointer or pointer.endswith(_OWN_SUFFIX) else pointer.removesuffix(".")
    asked = ipaddress.ip_address(address)
    if public is None or public.ipv6 is None or asked not in ipaddress.ip_network(public.ipv6.ip):
        raise ProviderError(f"{address} is not an address of {server.name}")
    for entry in public.ipv6.dns_ptr or []:
        if ipaddress.ip_address(entry["ip"]) == asked:
            return entry["dns_ptr"].removesuffix(".")
    return None
