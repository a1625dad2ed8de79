"""No channel may lead through the fleet that it tells of: not to its servers, and not to mailboxes on them."""

import asyncio
from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.webhooks.attempt import addresses_of

_IS_OURS = text(
    "SELECT EXISTS (SELECT FROM vps_servers WHERE status <> 'deleted'"
    "  AND (host(ip_address) = ANY(:addresses) OR host(ipv6_address) = ANY(:addresses)"
    "   OR lower(hostname) = ANY(:names)))"
    " OR EXISTS (SELECT FROM server_addresses WHERE host(address) = ANY(:addresses))"
    " OR EXISTS (SELECT FROM domains WHERE lower(name) = ANY(:names))"
)
_RESOLVED_WITHIN = 10.0


async def resolved(hosts: Iterable[str]) -> dict[str, list[str]]:
    """Return the addresses of each host; of one that has none, none."""
    return {host: await _addresses(host) for host in set(hosts)}


async def leads_through_fleet(session: AsyncSession, hosts: dict[str, list[str]]) -> bool:
    """Return whether one of these hosts, or of their addresses, is a server or a mail domain of ours."""
    names = [host.rstrip(".").lower() for host in hosts]
    addresses = [address for found in hosts.values() for address in found]
    return bool(await session.scalar(_IS_OURS, {"names": names, "addresses": addresses}))


async def _addresses(host: str) -> list[str]:
    try:
        async with asyncio.timeout(_RESOLVED_WITHIN):
            return list(await addresses_of(host))
    except (OSError, UnicodeError, TimeoutError):
        return []
