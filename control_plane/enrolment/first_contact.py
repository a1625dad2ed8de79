"""Where a server enrolled from: the address of one whose provider is a person and who did not state it."""

import ipaddress
import re

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.identity import AgentIdentity

# Providers tell the addresses of what they make.
_NOTE = text(
    "UPDATE vps_servers SET ip_address = CAST(:address AS inet)"
    " WHERE tenant_id = :tenant AND id = :vps AND provider = 'byo' AND ip_address IS NULL"
)
#: gRPC's name for the other side, such as `ipv4:192.0.2.1:40312`; an IPv6 socket has IPv4 peers mapped, and escaped.
_IPV4_PEER = re.compile(r"(?:ipv4:|ipv6:(?:\[|%5B)::ffff:)([0-9.]+)(?:(?:\]|%5D))?:\d+")


def ipv4_of_peer(peer: str) -> str | None:
    """Return the IPv4 address in gRPC's name of a peer, or None when it has none."""
    found = _IPV4_PEER.fullmatch(peer)
    try:
        return str(ipaddress.IPv4Address(found[1])) if found else None
    except ValueError:
        return None


async def note_address(session: AsyncSession, identity: AgentIdentity, peer: str) -> None:
    """Keep it as the server's address, unless that is known."""
    if (address := ipv4_of_peer(peer)) is not None:
        await session.execute(_NOTE, {"address": address, "tenant": identity.tenant_id, "vps": identity.vps_id})
