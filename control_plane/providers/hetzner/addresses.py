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
from control_plane.providers.hetzner.labels import refuse_foreign, selector

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
    """Give all back; raise `ProviderBusy` while one still belongs to a server."""
    for address in _existing(client, name, instance):
        release_address(address)


def address_in(network: str) -> str:
    """Return the address that a server takes up in its IPv6 network: the first (Hetzner's cloud-init sets it)."""
    return str(ipaddress.IPv6Network(network)[1])


def ipv4_name(server_name: str) -> str:
    """Return the name of the address that a server sends from."""
    return f"{server_name}-ipv4"


def candidate_name(server_name: str, label: str) -> str:
    """Return the name of an address that may take that one's place."""
    return f"{server_name}-ipv4-{label}"


def candidates(client: Client, server_name: str, instance: str) -> list[BoundPrimaryIP]:
    """Return the addresses that may take that one's place, oldest first."""
    own = client.primary_ips.get_all(label_selector=selector(instance))
    return sorted(
        (each for each in own if str(each.name).startswith(candidate_name(server_name, ""))),
        key=lambda each: each.id or 0,
    )


def find_address(client: Client, name: str, instance: str) -> BoundPrimaryIP | None:
    """Return the address of that name; raise `ProviderError` when it is not this installation's."""
    found = client.primary_ips.get_by_name(name)
    if found is not None:
        refuse_foreign(f"the primary IP {name}", found.labels, instance)
    return found


def release_address(address: BoundPrimaryIP) -> None:
    """Give it back; raise `ProviderBusy` while it belongs to a server."""
    if address.assignee_id is not None:
        raise ProviderBusy(f"the address {address.ip} still belongs to a server", 3.0)
    try:
        address.delete()
    except APIException as error:
        if error.code != "not_found":
            raise


def _existing(client: Client, name: str, instance: str) -> Iterator[BoundPrimaryIP]:
    for kind in KINDS:
        if (found := find_address(client, f"{name}-{kind}", instance)) is not None:
            yield found
    yield from candidates(client, name, instance)


def _ensure(client: Client, kind: str, wanted: Wanted) -> BoundPrimaryIP:
    name = f"{wanted.server_name}-{kind}"
    found = find_address(client, name, wanted.instance)
    if found is not None and found.location is not None and found.location.name != wanted.location:
        release_address(found)
        found = None
    if found is not None:
        return found
    place = Location(name=wanted.location)
    try:
        return client.primary_ips.create(type=kind, name=name, location=place, labels=wanted.labels).primary_ip
    except APIException as error:
        # Another's, or our own request whose answer was lost, came first.
        if error.code != "uniqueness_error" or (found := find_address(client, name, wanted.instance)) is None:
            raise
        return found
