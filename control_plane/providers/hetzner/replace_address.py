"""Another primary IPv4 for a server: got before the old one is given back, so that it cannot be the same.

A server's addresses are changed while it is off (docs.hetzner.cloud, "Assign a Primary IP to a resource"). Each call
looks how far it is: by the names of the addresses, whose server has which, and whether the server runs.
"""

from collections.abc import Collection

from hcloud import APIException
from hcloud.locations import Location
from hcloud.primary_ips import BoundPrimaryIP
from hcloud.servers import BoundServer

from control_plane.providers.base import NoCapacity, ProviderServer
from control_plane.providers.hetzner.addresses import (
    candidate_name,
    candidates,
    find_address,
    ipv4_name,
    release_address,
)
from control_plane.providers.hetzner.client import Operation
from control_plane.providers.hetzner.servers import existing, power_off, power_on, settle
from control_plane.providers.hetzner.view import view

#: Addresses that are held at one time while one is sought that was not refused.
_MOST_HELD = 4


def replace_address(operation: Operation, name: str, refused: Collection[str]) -> ProviderServer:
    """Return the running server with an address that is not refused; raise `ProviderBusy` until it is so."""
    server = existing(operation, name)
    own = find_address(operation.client, ipv4_name(name), operation.account.instance)
    if own is None or own.ip in refused:
        own = _take_in_place(operation, server, own, _candidate(operation, server, refused))
    if own.assignee_id is None:
        power_off(operation, name)
        settle(own.assign(int(server.id or 0), "server"), f"Hetzner is giving {own.ip} to {name}")
    _release_candidates(operation, name)
    power_on(operation, name)
    return view(existing(operation, name))


def _candidate(operation: Operation, server: BoundServer, refused: Collection[str]) -> BoundPrimaryIP:
    """Return an address that is not refused; refused ones are held until there is one, and so not given again."""
    name = str(server.name)
    held = candidates(operation.client, name, operation.account.instance)
    for found in held:
        if found.ip not in refused:
            return found
    for number in range(len(held), _MOST_HELD):
        found = _create(operation, server, candidate_name(name, str(number)))
        if found.ip not in refused:
            return found
    _release_candidates(operation, name)
    raise NoCapacity("Hetzner gives only addresses that were refused before", 3600.0)


def _create(operation: Operation, server: BoundServer, name: str) -> BoundPrimaryIP:
    place = Location(name=server.location.name if server.location else None)
    labels = dict(server.labels or {})
    try:
        return operation.client.primary_ips.create(type="ipv4", name=name, location=place, labels=labels).primary_ip
    except APIException as error:
        # Our own request whose answer was lost came first.
        found = find_address(operation.client, name, operation.account.instance)
        if error.code != "uniqueness_error" or found is None:
            raise
        return found


def _take_in_place(
    operation: Operation, server: BoundServer, old: BoundPrimaryIP | None, new: BoundPrimaryIP
) -> BoundPrimaryIP:
    """Give the old address back, and the new one its name."""
    name = str(server.name)
    if old is not None:
        if old.assignee_id is not None:
            power_off(operation, name)
            settle(old.unassign(), f"Hetzner is taking {old.ip} from {name}")
            old.reload()
        release_address(old)
    return new.update(name=ipv4_name(name))


def _release_candidates(operation: Operation, name: str) -> None:
    for found in candidates(operation.client, name, operation.account.instance):
        release_address(found)
