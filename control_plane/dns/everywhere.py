"""Whether every name server of a zone says a record already, one by one, past each other's caches."""

import asyncio
from collections.abc import Sequence

from control_plane.dns.judge import Verdict, judge
from control_plane.dns.records import DnsRecord
from control_plane.dns.resolve import NoAnswer, values_of

#: Of one zone; those of most have up to eight addresses. Whoever writes the zone decides how many it names.
MOST_SERVERS = 32


async def servers_without(record: DnsRecord, nameservers: Sequence[str]) -> list[str]:
    """Return the servers that do not say what the record asks for, by address.

    Asked are the zone's authoritative servers, as far as `nameservers` know them and `MOST_SERVERS` at most, and
    `nameservers` themselves. One that does not answer is among those returned: nothing is known of it.
    """
    servers = sorted({*nameservers, *await _authoritative(record.zone, nameservers)})
    said = await asyncio.gather(*(_says(record, server) for server in servers))
    return [server for server, says in zip(servers, said, strict=True) if not says]


async def _says(record: DnsRecord, server: str) -> bool:
    try:
        found = await values_of(record.fqdn, record.type, [server])
    except NoAnswer:
        return False
    return judge(record, found).verdict is Verdict.VERIFIED


async def _authoritative(zone: str, nameservers: Sequence[str]) -> set[str]:
    try:
        names = await values_of(zone, "NS", nameservers)
    except NoAnswer:
        return set()
    addresses = await asyncio.gather(*(_addresses(name, nameservers) for name in sorted(names)[:MOST_SERVERS]))
    return set(sorted({address for found in addresses for address in found})[:MOST_SERVERS])


async def _addresses(name: str, nameservers: Sequence[str]) -> tuple[str, ...]:
    try:
        return await values_of(name, "A", nameservers)
    except NoAnswer:
        return ()
