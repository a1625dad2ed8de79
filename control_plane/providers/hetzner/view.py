"""A server of Hetzner's as `providers.base` describes servers."""

from hcloud.actions import BoundAction
from hcloud.servers import BoundServer, Server

from control_plane.providers.base import PowerState, ProviderBusy, ProviderServer
from control_plane.providers.hetzner.addresses import address_in
from control_plane.providers.hetzner.catalogue import monthly_price

_GIB = 1024**3
_OFF = {Server.STATUS_OFF, Server.STATUS_STOPPING}
#: Being made or not known; whether it is, its actions say.
_UNSETTLED = {Server.STATUS_INIT, Server.STATUS_STARTING, Server.STATUS_OFF, Server.STATUS_UNKNOWN}
_MAKING = {"create_server", "start_server"}


def view(server: BoundServer) -> ProviderServer:
    """Return what is known of the server; asks for its actions where its status does not settle whether it is made."""
    progress, fault = _making(server)
    kind, public = server.server_type, server.public_net
    if kind is None or public is None or public.ipv4 is None:
        raise ProviderBusy(f"the server {server.name} has no public IPv4 address (yet)", 3.0)
    return ProviderServer(
        provider_id=str(server.id),
        name=str(server.name),
        ipv4_address=public.ipv4.ip,
        ipv6_address=address_in(public.ipv6.ip) if public.ipv6 is not None else None,
        power=PowerState.OFF if server.status in _OFF else PowerState.RUNNING,
        cores=int(kind.cores or 0),
        memory_bytes=int((kind.memory or 0) * _GIB),
        disk_bytes=int(server.primary_disk_size or kind.disk or 0) * _GIB,
        monthly_cost=monthly_price(kind, location_of(server)),
        progress=progress,
        fault=fault,
        labels=tuple(sorted((server.labels or {}).items())),
    )


def location_of(server: BoundServer) -> str:
    """Return the name of the server's location."""
    return str(server.location.name) if server.location is not None else ""


def _making(server: BoundServer) -> tuple[int | None, str | None]:
    """Return the progress of its making, if it goes on, and why it failed, if it did."""
    if server.status == Server.STATUS_DELETING:
        return None, "it is being deleted at Hetzner"
    if server.status not in _UNSETTLED:
        return None, None
    steps = [action for action in server.get_actions(sort=["id:asc"]) if action.command in _MAKING]
    first = {str(action.command): action for action in reversed(steps)}
    for action in first.values():
        if action.status == "error":
            return None, f"{failure(action)}; remove the server and ask again"
    running = [action.progress or 0 for action in first.values() if action.status == "running"]
    if running:
        return min(running), None
    # Hetzner moves the status after the action; a server that somebody has switched off is made.
    return (None if server.status == Server.STATUS_OFF else 100), None


def failure(action: BoundAction) -> str:
    """Return in words why an action failed."""
    error = action.error or {"code": "unknown", "message": "no reason was given", "details": {}}
    return f"Hetzner: {error['message']} [{error['code']}] in {action.command}"
