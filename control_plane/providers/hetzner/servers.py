"""What is done to servers, one function for each call, as a thread performs it: look first, then one step further."""

from hcloud import APIException
from hcloud.actions import Action, BoundAction
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer, Server, ServerCreatePublicNetwork

from control_plane.providers.base import NoCapacity, ProviderBusy, ProviderError, ProviderServer, ServerOrder
from control_plane.providers.hetzner.addresses import Wanted, ensure_addresses
from control_plane.providers.hetzner.catalogue import Offer, choices, read_offers
from control_plane.providers.hetzner.client import Operation
from control_plane.providers.hetzner.errors import ChoiceUnavailable, rendered
from control_plane.providers.hetzner.firewall import ensure_firewall
from control_plane.providers.hetzner.labels import (
    GENERATION,
    INSTANCE,
    REBUILT_BEFORE,
    checked,
    refuse_foreign,
    selector,
)
from control_plane.providers.hetzner.view import failure, view

#: docs.hetzner.cloud, "Create a server".
_USER_DATA_BYTES = 32 * 1024


def look_up(operation: Operation, name: str) -> BoundServer | None:
    """Return the server of that name; raise `ProviderError` when it is not this installation's."""
    found = operation.client.servers.get_by_name(name)
    if found is not None:
        refuse_foreign(f"the server {name}", found.labels, operation.account.instance)
    return found


def existing(operation: Operation, name: str) -> BoundServer:
    """Return the server of that name; raise `ProviderError` when there is none."""
    if (found := look_up(operation, name)) is None:
        raise ProviderError(f"Hetzner has no server {name}")
    return found


def find(operation: Operation, name: str) -> ProviderServer | None:
    """Return the server as it is."""
    found = look_up(operation, name)
    return None if found is None else view(found)


def list_own(operation: Operation) -> list[ProviderServer]:
    """Return all servers of this installation, by name."""
    own = operation.client.servers.get_all(label_selector=selector(operation.account.instance))
    return sorted((view(server) for server in own), key=lambda server: server.name)


def create(operation: Operation, order: ServerOrder) -> ProviderServer:
    """Return the server of the order, asking for it when there is none: the cheapest choice that is to be had."""
    operation.end_by(order.begin_before)
    _check_user_data(order.user_data)
    if (found := look_up(operation, order.name)) is not None:
        return view(found)
    options = choices(order.size, order.region, read_offers(operation.client.server_types.get_all()))
    reasons = [f"no type of size {order.size} is marked available there"]
    for option in options:
        try:
            return view(_order(operation, order, option))
        except ChoiceUnavailable as error:
            reasons.append(f"{option.type_name} at {option.location}: {error}")
    raise NoCapacity(f"nothing is to be had in {order.region}: {reasons[-1]}")


def _order(operation: Operation, order: ServerOrder, option: Offer) -> BoundServer:
    """Ask for one choice; raise `ChoiceUnavailable` when it is not to be had after all."""
    client, account = operation.client, operation.account
    labels = checked({**dict(order.labels), INSTANCE: account.instance, GENERATION: "0"})
    try:
        firewall = ensure_firewall(client, account.instance)
        addresses = ensure_addresses(client, Wanted(order.name, option.location, labels, account.instance))
        made = client.servers.create(
            name=order.name,
            server_type=ServerType(name=option.type_name),
            image=Image(name=account.image),
            location=Location(name=option.location),
            firewalls=[firewall],
            user_data=order.user_data,
            labels=labels,
            public_net=ServerCreatePublicNetwork(ipv4=addresses.ipv4, ipv6=addresses.ipv6),
        )
    except APIException as error:
        # Another request for the same server, or one of ours whose answer was lost, came first.
        if error.code == "uniqueness_error" and (found := look_up(operation, order.name)) is not None:
            return found
        raise rendered(error) from None
    return made.server


def power_off(operation: Operation, name: str) -> None:
    """Cut the power; raise `ProviderBusy` until it is off."""
    server = existing(operation, name)
    if server.status == Server.STATUS_STOPPING:
        raise ProviderBusy(f"{name} is stopping")
    if server.status != Server.STATUS_OFF:
        settle(server.power_off(), f"Hetzner is switching {name} off")


def power_on(operation: Operation, name: str) -> None:
    """Start it; raise `ProviderBusy` until it runs."""
    server = existing(operation, name)
    if server.status == Server.STATUS_STARTING:
        raise ProviderBusy(f"{name} is starting")
    if server.status == Server.STATUS_OFF:
        settle(server.power_on(), f"Hetzner is switching {name} on")


def reboot(operation: Operation, name: str) -> None:
    """Ask the operating system to start again; what becomes of that, the agent tells."""
    existing(operation, name).reboot()


def reset(operation: Operation, name: str) -> None:
    """Press the reset button."""
    existing(operation, name).reset()


def rebuild(
    operation: Operation, name: str, user_data: str, generation: int, begin_before: float | None = None
) -> None:
    """Write the image over the disk, once for each generation; raise `ProviderBusy` until it is done.

    The generation is labelled before the request, with the rebuild that was the last until then. So a later one tells
    that the request was taken, whatever became of its answer. One that failed is told, and then may be asked for again.
    """
    operation.end_by(begin_before)
    _check_user_data(user_data)
    server = existing(operation, name)
    under_way = f"Hetzner is rebuilding {name}"
    labels = dict(server.labels or {})
    if (asked := int(labels.get(GENERATION, "0"))) > generation:
        return
    last = _last_rebuild(server)
    if asked == generation and last is not None and last.id > int(labels.get(REBUILT_BEFORE, "0")):
        if last.status == Action.STATUS_ERROR:
            server.update(labels={**labels, REBUILT_BEFORE: str(last.id)})
        settle(last, under_way)
        return
    if server.status == Server.STATUS_REBUILDING:
        raise ProviderBusy(under_way, 5.0)
    if asked < generation:
        server.update(labels={**labels, GENERATION: str(generation), REBUILT_BEFORE: str(last.id if last else 0)})
    settle(server.rebuild(Image(name=operation.account.image), user_data=user_data).action, under_way)


def _last_rebuild(server: BoundServer) -> BoundAction | None:
    rebuilds = [each for each in server.get_actions() if each.command == "rebuild_server"]
    return max(rebuilds, key=lambda action: action.id, default=None)


def settle(action: BoundAction, under_way: str) -> None:
    """Raise `ProviderBusy` while the action runs and `ProviderError` when it failed."""
    if action.status == Action.STATUS_RUNNING:
        raise ProviderBusy(f"{under_way} ({action.progress or 0} %)")
    if action.status == Action.STATUS_ERROR:
        raise ProviderError(failure(action))


def _check_user_data(user_data: str) -> None:
    if len(user_data.encode()) > _USER_DATA_BYTES:
        raise ProviderError("user-data is larger than 32 KiB")
