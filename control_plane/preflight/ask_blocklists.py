"""Ask the lists about an address and some of its neighbours; what the answers mean, `blocklists.py` says."""

import asyncio
import ipaddress
from collections.abc import Sequence

from control_plane.dns.resolve import NoAnswer
from control_plane.preflight.blocklists import (
    LISTED_EXAMPLE,
    UNLISTED_EXAMPLE,
    Blocklist,
    distrust,
    judge_address,
    judge_network,
    not_asked,
    question,
    sample_of_network,
)
from control_plane.preflight.findings import Check, Finding, Verdict
from control_plane.preflight.resolvers import Resolvers


async def check_blocklists(resolvers: Resolvers, blocklists: Sequence[Blocklist], ipv4_address: str) -> list[Finding]:
    """Ask them all, side by side; one that does not answer is said so and held against nobody."""
    found = await asyncio.gather(*(_ask(resolvers, blocklist, ipv4_address) for blocklist in blocklists))
    return [finding for findings in found for finding in findings]


def not_to_be_asked(ipv4_address: str) -> Finding:
    """Return that public lists know nothing of an address that is not public."""
    detail = f"{ipv4_address} is no public address, so no blocklist was asked"
    return Finding(Check.BLOCKLIST, ipv4_address, Verdict.UNKNOWN, detail)


async def _ask(resolvers: Resolvers, blocklist: Blocklist, ipv4_address: str) -> list[Finding]:
    async def codes_of(address: str) -> frozenset[str]:
        return await resolvers.addresses_of(question(blocklist.zone, address))

    try:
        if (
            reason := distrust(blocklist, await codes_of(LISTED_EXAMPLE), await codes_of(UNLISTED_EXAMPLE))
        ) is not None:
            return [not_asked(blocklist, reason)]
        findings = [judge_address(blocklist, await codes_of(ipv4_address))]
        if neighbours := sample_of_network(ipv4_address, blocklist.neighbours):
            network = str(ipaddress.IPv4Network(f"{ipv4_address}/24", strict=False))
            answers = await asyncio.gather(*(codes_of(neighbour) for neighbour in neighbours))
            findings.append(judge_network(blocklist, network, answers))
    except NoAnswer as error:
        return [not_asked(blocklist, str(error))]
    return findings
