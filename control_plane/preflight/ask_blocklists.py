"""Ask the lists about an address and some of its neighbours; what the answers mean, `blocklists.py` says."""

import asyncio
import ipaddress
from collections.abc import Sequence

from control_plane.dns.resolve import NoAnswer
from control_plane.preflight.blocklists import (
    LISTED_EXAMPLE,
    LISTED_EXAMPLE_V6,
    UNLISTED_EXAMPLE,
    UNLISTED_EXAMPLE_V6,
    Blocklist,
    distrust,
    judge_address,
    judge_network,
    not_asked,
    question,
    sample_of_network,
)
from control_plane.preflight.findings import Check, Finding, Verdict
from control_plane.preflight.ipv6 import of_ipv6
from control_plane.preflight.resolvers import Resolvers

_EXAMPLES = (LISTED_EXAMPLE, UNLISTED_EXAMPLE)
_EXAMPLES_V6 = (LISTED_EXAMPLE_V6, UNLISTED_EXAMPLE_V6)


async def check_blocklists(resolvers: Resolvers, blocklists: Sequence[Blocklist], address: str) -> list[Finding]:
    """Ask them all, side by side; one that does not answer is said so and held against nobody.

    About an IPv6 address those are asked that list such.
    """
    if ":" in address:
        lists_v6 = [blocklist for blocklist in blocklists if blocklist.ipv6]
        found = await asyncio.gather(*(_ask(resolvers, blocklist, address, _EXAMPLES_V6) for blocklist in lists_v6))
        return [of_ipv6(finding) for findings in found for finding in findings]
    found = await asyncio.gather(*(_ask(resolvers, blocklist, address, _EXAMPLES) for blocklist in blocklists))
    return [finding for findings in found for finding in findings]


def not_to_be_asked(address: str) -> Finding:
    """Return that public lists know nothing of an address that is not public."""
    detail = f"{address} is no public address, so no blocklist was asked"
    finding = Finding(Check.BLOCKLIST, address, Verdict.UNKNOWN, detail)
    return of_ipv6(finding) if ":" in address else finding


async def _ask(resolvers: Resolvers, blocklist: Blocklist, address: str, examples: tuple[str, str]) -> list[Finding]:
    async def codes_of(each: str) -> frozenset[str]:
        return await resolvers.addresses_of(question(blocklist.zone, each))

    listed, unlisted = examples
    try:
        if (reason := distrust(blocklist, await codes_of(listed), await codes_of(unlisted))) is not None:
            return [not_asked(blocklist, reason)]
        findings = [judge_address(blocklist, await codes_of(address))]
        if neighbours := sample_of_network(address, blocklist.neighbours):
            network = str(ipaddress.IPv4Network(f"{address}/24", strict=False))
            answers = await asyncio.gather(*(codes_of(neighbour) for neighbour in neighbours))
            findings.append(judge_network(blocklist, network, answers))
    except NoAnswer as error:
        return [not_asked(blocklist, str(error))]
    return findings
