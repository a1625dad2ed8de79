"""A server's primary addresses, one of each kind: made before it, kept when it is rebuilt, given back with it.

They are found by their names. A server is created with the ids of its addresses, so a create that comes after its
addresses were given back is refused, whoever sends it.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from hcloud import APIException, Client
from hcloud.locations import Location
from hcloud.primary_ips import BoundPrimaryIP

from control_plane.providers.base import ProviderBusy
from control_plane.providers.hetzner.labels import refuse_foreign

KINDS = ("ipv4", "ipv6")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Both addresses of one server."""

    ipv4: BoundPrimaryIP
    ipv6: BoundPrimaryIP


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose addresses, and where."""

    server_name: str
    location: str
    labels: dict[str, str]
    instance: str


def ensure_addresses(client: Client, wanted: Wanted) -> Addresses:
    """Return the addresses at the location, getting what is missing; those elsewhere are given back first."""
    ipv4, ipv6 = (_ensure(client, kind, wanted) for kind in KINDS)
    return Addresses(ipv4, ipv6)


def release_addresses(client: Client, name: str, instance: str) -> None:
    """Give both back; raise `ProviderBusy` while one still belongs to a server."""
    for address in _existing(client, name, instance):
        _release(address)


def address_in(network: str) -> str:
    """Return the address that a server takes up in its IPv6 network: the first (Hetzner's cloud-init sets it)."""
    return str(ipaddress.IPv6Network(network)[1])


def _existing(client: Client, name: str, instance: str) -> Iterator[BoundPrimaryIP]:
    for kind in KINDS:
        if (found := _find(client, f"{name}-{kind}", instance)) is not None:
            yield found


def _find(client: Client, name: str, instance: str) -> BoundPrimaryIP | None:
    found = client.primary_ips.get_by_name(name)
    if found is not None:
        refuse_foreign(f"the primary IP {name}", found.labels, instance)
    return found


def _ensure(client: Client, kind: str, wanted: Wanted) -> BoundPrimaryIP:
    name = f"{wanted.server_name}-{kind}"
    found = _find(client, name, wanted.instance)
    if found is not None and found.location is not None and found.location.name != wanted.location:
        _release(found)
        found = None
    if found is not None:
        return found
    place = Location(name=wanted.location)
    try:
        return client.primary_ips.create(type=kind, name=name, location=place, labels=wanted.labels).primary_ip
    except APIException as error:
        # Another's, or our own request whose answer was lost, came first.
        if error.code != "uniqueness_error" or (found := _find(client, name, wanted.instance)) is None:
            raise
        return found


def _release(address: BoundPrimaryIP) -> None:
    if address.assignee_id is not None:
        raise ProviderBusy(f"the address {address.ip} still belongs to a server", 3.0)
    try:
        address.delete()
    except APIException as error:
        if error.code != "not_found":
            raise
