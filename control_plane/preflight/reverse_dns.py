"""Does an address name the server, and the server's name the address: forward-confirmed reverse DNS.

Large receivers refuse mail from addresses without it (Google's sender guidelines, 4.7.23 and 5.7.25).
"""

import dns.reversename

from control_plane.dns.resolve import NoAnswer, values_of
from control_plane.preflight.findings import Check, Finding, Verdict
from control_plane.preflight.ipv6 import of_ipv6
from control_plane.preflight.resolvers import Resolvers


async def check_reverse_dns(resolvers: Resolvers, hostname: str, address: str) -> Finding:
    """Ask for the PTR and for what the host's name has."""
    is_ipv6 = ":" in address
    finding = await _ask(resolvers, hostname, address, "AAAA" if is_ipv6 else "A")
    return of_ipv6(finding) if is_ipv6 else finding


async def _ask(resolvers: Resolvers, hostname: str, address: str, forward_type: str) -> Finding:
    reverse = str(dns.reversename.from_address(address))
    try:
        names = await values_of(reverse, "PTR", resolvers.nameservers, resolvers.port)
        addresses = await values_of(hostname, forward_type, resolvers.nameservers, resolvers.port)
    except NoAnswer as error:
        return Finding(Check.REVERSE_DNS, address, Verdict.PENDING, str(error))
    return judge_reverse_dns(hostname, address, names, addresses)


def judge_reverse_dns(hostname: str, address: str, names: tuple[str, ...], addresses: tuple[str, ...]) -> Finding:
    """Return what the PTR of the address and the addresses of the host's name are worth."""
    check, own = Check.REVERSE_DNS, hostname.lower()
    others = sorted(name for name in names if name != own)
    if not names:
        return Finding(check, address, Verdict.FAILED, f"{address} has no PTR record; it should name {own}")
    if len(others) == len(names):
        return Finding(check, address, Verdict.FAILED, f"the PTR record of {address} names {others[0]} and not {own}")
    if address not in addresses:
        has = ", ".join(sorted(addresses)) or "no address"
        return Finding(check, address, Verdict.FAILED, f"{own} has {has} in DNS, and not {address}")
    if others:
        detail = f"{address} names {', '.join(others)} besides {own}; receivers may look at either"
        return Finding(check, address, Verdict.WARNED, detail)
    return Finding(check, address, Verdict.PASSED, f"{address} and {own} name each other")
