"""The end of a server: first it goes, then all addresses that were got for it."""

from hcloud import APIException
from hcloud.servers import BoundServer, Server

from control_plane.providers.base import ProviderBusy
from control_plane.providers.hetzner.addresses import release_addresses
from control_plane.providers.hetzner.client import Operation
from control_plane.providers.hetzner.extra_addresses import release_extra_addresses
from control_plane.providers.hetzner.servers import look_up


def delete(operation: Operation, name: str) -> None:
    """Delete the server, then give its addresses back; raise `ProviderBusy` until all are gone."""
    found = look_up(operation, name)
    if found is not None:
        if found.status != Server.STATUS_DELETING:
            _delete(found)
        if look_up(operation, name) is not None:
            raise ProviderBusy(f"Hetzner is deleting the server {name}")
    release_addresses(operation.client, name, operation.account.instance)
    release_extra_addresses(operation, name)


def _delete(server: BoundServer) -> None:
    try:
        server.delete()
    except APIException as error:
        if error.code != "not_found":
            raise
