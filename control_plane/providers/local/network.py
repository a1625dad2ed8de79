"""Addresses and links of the local world.

Each installation has its own world: a network namespace with one bridge and no way out, in which the control plane's
processes live, and one namespace for each server with a cable to that bridge. All worlds use the same addresses; they
never meet. Whatever is named here starts with `pgn-<world id>`, so that it can be found and removed.
"""

import ipaddress
import json
from collections.abc import Collection
from pathlib import Path

from control_plane.providers.base import ProviderError
from control_plane.providers.local.commands import run, succeeds

NETWORK = ipaddress.IPv4Network("10.77.0.0/16")
BRIDGE = "br0"
#: The control plane's address, on the bridge.
GATEWAY = ipaddress.IPv4Address("10.77.0.1")
NAMESERVER = ipaddress.IPv4Address("10.77.0.53")
#: The certificate authority.
AUTHORITY = ipaddress.IPv4Address("10.77.0.54")
#: Servers get their addresses from here on.
FIRST_SERVER = ipaddress.IPv4Address("10.77.1.1")
LAST_SERVER = ipaddress.IPv4Address("10.77.254.254")

NAMESPACES = Path("/run/netns")


def lowest_free(
    taken: Collection[ipaddress.IPv4Address],
    first: ipaddress.IPv4Address = FIRST_SERVER,
    last: ipaddress.IPv4Address = LAST_SERVER,
) -> ipaddress.IPv4Address:
    """Return the lowest address that nobody has; raise `ProviderError` when all are taken."""
    for number in range(int(first), int(last) + 1):
        address = ipaddress.IPv4Address(number)
        if address not in taken:
            return address
    raise ProviderError(f"out of addresses: {len(taken)} servers have one")


def mac_of(address: ipaddress.IPv4Address) -> str:
    """Return the one MAC that an address ever has: neighbours keep it cached when a server is made anew."""
    return ":".join(f"{octet:02x}" for octet in b"\x02\x00" + address.packed)


def cable_of(address: ipaddress.IPv4Address) -> str:
    """Return the name of the bridge's end of a server's cable (at most 15 characters)."""
    return f"v{address.packed[2:].hex()}"


def create_namespace(name: str) -> None:
    """Make an empty network namespace whose loopback is up."""
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])


def delete_namespace(name: str) -> None:
    """Remove a network namespace with all its links; no error when it is gone already."""
    if (NAMESPACES / name).exists():
        run(["ip", "netns", "del", name])


def create_bridge(namespace: str) -> None:
    """Put the bridge with the control plane's address into a namespace."""
    run(["ip", "-n", namespace, "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "-n", namespace, "address", "add", f"{GATEWAY}/{NETWORK.prefixlen}", "dev", BRIDGE])
    run(["ip", "-n", namespace, "link", "set", BRIDGE, "up"])


def plug_in(world: str, namespace: str, address: ipaddress.IPv4Address) -> None:
    """Make a namespace for one machine, with `eth0` at the address and a cable to the world's bridge."""
    cable = cable_of(address)
    create_namespace(namespace)
    run(
        [
            *("ip", "link", "add", "eth0", "address", mac_of(address), "netns", namespace),
            *("type", "veth", "peer", "name", cable, "netns", world),
        ]
    )
    run(["ip", "-n", world, "link", "set", cable, "master", BRIDGE, "up"])
    run(["ip", "-n", namespace, "address", "add", f"{address}/{NETWORK.prefixlen}", "dev", "eth0"])
    run(["ip", "-n", namespace, "link", "set", "eth0", "up"])
    run(["ip", "-n", namespace, "route", "add", "default", "via", str(GATEWAY)])


def unplug(world: str, namespace: str, address: ipaddress.IPv4Address) -> None:
    """Undo `plug_in`; no error when all or a part of it is gone already."""
    # the kernel empties a deleted namespace later; the next machine at this address needs the cable's name now
    succeeds(["ip", "-n", world, "link", "del", cable_of(address)])
    delete_namespace(namespace)


def pull_all_cables(world: str) -> None:
    """Remove all cables from the world's bridge, if there is such a world."""
    if (NAMESPACES / world).exists():
        shown = run(["ip", "-n", world, "-json", "link", "show", "master", BRIDGE])
        for link in json.loads(shown or "[]"):
            run(["ip", "-n", world, "link", "del", link["ifname"]])


def set_cable(world: str, address: ipaddress.IPv4Address, *, connected: bool) -> None:
    """Pull or plug the bridge's end of a server's cable."""
    run(["ip", "-n", world, "link", "set", cable_of(address), "up" if connected else "down"])


def add_unreachable_route(metric: int) -> None:
    """Make the host refuse the world's addresses at once, under a metric that is this world's alone.

    The second lock: nothing on the host's own network should ever talk to them. Raises `ProviderError` when the
    machine has a real route there.
    """
    routes = json.loads(run(["ip", "-json", "route", "show", "root", str(NETWORK)]) or "[]")
    if real := [route["dst"] for route in routes if route.get("type") != "unreachable"]:
        raise ProviderError(f"this machine's own network uses {real[0]}, which local servers need ({NETWORK})")
    run(["ip", "route", "replace", "unreachable", str(NETWORK), "metric", str(metric)])


def delete_unreachable_route(metric: int) -> None:
    """Remove this world's route; no error when it is gone already."""
    succeeds(["ip", "route", "del", "unreachable", str(NETWORK), "metric", str(metric)])
