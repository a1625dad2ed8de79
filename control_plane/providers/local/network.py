"""Addresses and links of the local world, over IPv4 and, where this machine has it, over IPv6.

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
#: Unique local addresses (RFC 4193), whose prefix was drawn by lot.
NETWORK_V6 = ipaddress.IPv6Network("fd9b:6a1e:3d77::/64")

NAMESPACES = Path("/run/netns")
_IPV6_IS_OFF = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")


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


def ipv6_of(address: ipaddress.IPv4Address) -> ipaddress.IPv6Address | None:
    """Return the IPv6 address that goes with an address; None where this machine's kernel has no IPv6."""
    return NETWORK_V6[int(address) & int(NETWORK.hostmask)] if _has_ipv6() else None


def _has_ipv6() -> bool:
    return _IPV6_IS_OFF.exists() and _IPV6_IS_OFF.read_text().strip() == "0"


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
    _give(namespace, BRIDGE, GATEWAY)
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
    _give(namespace, "eth0", address)
    run(["ip", "-n", namespace, "link", "set", "eth0", "up"])
    run(["ip", "-n", namespace, "route", "add", "default", "via", str(GATEWAY)])


def _give(namespace: str, device: str, address: ipaddress.IPv4Address) -> None:
    run(["ip", "-n", namespace, "address", "add", f"{address}/{NETWORK.prefixlen}", "dev", device])
    if (ipv6 := ipv6_of(address)) is not None:
        # nobody else has it, and what binds to it at boot would have to wait for the question
        run(["ip", "-n", namespace, "address", "add", f"{ipv6}/{NETWORK_V6.prefixlen}", "dev", device, "nodad"])


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
    for family, network in _networks():
        routes = json.loads(run(["ip", family, "-json", "route", "show", "root", network]) or "[]")
        if real := [route["dst"] for route in routes if route.get("type") != "unreachable"]:
            raise ProviderError(f"this machine's own network uses {real[0]}, which local servers need ({network})")
        run(["ip", family, "route", "replace", "unreachable", network, "metric", str(metric)])


def delete_unreachable_route(metric: int) -> None:
    """Remove this world's route; no error when it is gone already."""
    for family, network in _networks():
        succeeds(["ip", family, "route", "del", "unreachable", network, "metric", str(metric)])


def _networks() -> list[tuple[str, str]]:
    return [("-4", str(NETWORK)), *([("-6", str(NETWORK_V6))] if _has_ipv6() else [])]
