"""Port 80 of one server, open only while a certificate is being got for it."""

from hcloud.firewalls import BoundFirewall, FirewallResource

from control_plane.providers.hetzner.client import Operation
from control_plane.providers.hetzner.firewall import ensure_acme_firewall
from control_plane.providers.hetzner.servers import existing


def open_acme(operation: Operation, name: str) -> None:
    """Let port 80 in to one server."""
    server = existing(operation, name)
    firewall = ensure_acme_firewall(operation.client, operation.account.instance)
    if server.id not in _servers_of(firewall):
        firewall.apply_to_resources([FirewallResource(type=FirewallResource.TYPE_SERVER, server=server)])


def close_acme(operation: Operation, name: str) -> None:
    """Shut port 80 of one server again."""
    server = existing(operation, name)
    firewall = ensure_acme_firewall(operation.client, operation.account.instance)
    if server.id in _servers_of(firewall):
        firewall.remove_from_resources([FirewallResource(type=FirewallResource.TYPE_SERVER, server=server)])


def _servers_of(firewall: BoundFirewall) -> set[int | None]:
    return {use.server.id for use in firewall.applied_to or [] if use.server is not None}
