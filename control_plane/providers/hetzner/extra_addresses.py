"""More IPv4 addresses for a server: floating IPs, by name; the server's operating system has to take them up."""

from hcloud import APIException
from hcloud.floating_ips import BoundFloatingIP

from control_plane.providers.base import ExtraAddress, ProviderBusy
from control_plane.providers.hetzner.client import Operation
from control_plane.providers.hetzner.labels import INSTANCE, refuse_foreign, selector
from control_plane.providers.hetzner.servers import existing


def add_address(operation: Operation, name: str, label: str) -> ExtraAddress:
    """Return the server's address of that label, getting it and giving it to the server where that is missing."""
    server = existing(operation, name)
    found = _find(operation, name, label) or _create(operation, name, label)
    if found.server is None:
        if found.assign(server).status == "running":
            raise ProviderBusy(f"Hetzner is giving {found.ip} to {name}", 1.0)
    elif found.server.id != server.id:
        raise ProviderBusy(f"{found.ip} still belongs to another server", 5.0)
    return ExtraAddress(label, str(found.ip))


def remove_address(operation: Operation, name: str, label: str) -> None:
    """Give it back; deleting one that is assigned takes it from its server."""
    if (found := _find(operation, name, label)) is not None:
        _delete(found)


def point_extra_address(operation: Operation, name: str, address: str, hostname: str | None) -> bool:
    """Set the PTR of one of the server's extra addresses; return whether it has such an address."""
    own = operation.client.floating_ips.get_all(label_selector=selector(operation.account.instance))
    found = next((each for each in own if each.ip == address and str(each.name).startswith(_full(name, ""))), None)
    if found is None:
        return False
    pointed = next((entry["dns_ptr"] for entry in found.dns_ptr or [] if entry["ip"] == address), None)
    # hcloud takes no None here: what is to be removed goes with the address.
    if hostname is not None and pointed != hostname and found.change_dns_ptr(address, hostname).status == "running":
        raise ProviderBusy(f"Hetzner is setting the PTR of {address}", 1.0)
    return True


def release_extra_addresses(operation: Operation, name: str) -> None:
    """Give back all that a server had, by their names."""
    own = operation.client.floating_ips.get_all(label_selector=selector(operation.account.instance))
    for address in own:
        if str(address.name).startswith(_full(name, "")):
            _delete(address)


def _delete(address: BoundFloatingIP) -> None:
    try:
        address.delete()
    except APIException as error:
        if error.code != "not_found":
            raise


def _find(operation: Operation, name: str, label: str) -> BoundFloatingIP | None:
    found = operation.client.floating_ips.get_by_name(_full(name, label))
    if found is not None:
        refuse_foreign(f"the floating IP {_full(name, label)}", found.labels, operation.account.instance)
    return found


def _create(operation: Operation, name: str, label: str) -> BoundFloatingIP:
    server = existing(operation, name)
    labels = {**(server.labels or {}), INSTANCE: operation.account.instance}
    try:
        made = operation.client.floating_ips.create(
            type="ipv4", name=_full(name, label), labels=labels, home_location=server.location
        )
    except APIException as error:
        if error.code != "uniqueness_error" or (found := _find(operation, name, label)) is None:
            raise
        return found
    return made.floating_ip


def _full(name: str, label: str) -> str:
    return f"{name}-extra-{label}"
