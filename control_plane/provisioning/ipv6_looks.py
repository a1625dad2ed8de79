"""The hourly look at the names of servers' IPv6 addresses: lost ones stop mail over IPv6, and new ones let it begin.

It looks for nothing but whether name and address name each other. Where that is not what the server goes by, a
preflight is asked for, which looks at all that counts, and decides.
"""

import asyncio
import contextlib

from sqlalchemy import Row, text

from control_plane.errors import Conflict
from control_plane.preflight.findings import Finding, Verdict
from control_plane.preflight.reverse_dns import check_reverse_dns
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.preflight_requests import request_preflight

#: Servers that are looked at side by side.
_AT_ONCE = 10

_SERVERS = text(
    "SELECT id, tenant_id, hostname, host(ipv6_address) AS address, ipv6_sending_since IS NOT NULL AS sends"
    " FROM vps_servers WHERE status = 'ready' AND ipv6_address IS NOT NULL ORDER BY id"
)


async def look_at_ipv6(environment: Environment) -> None:
    """Look at each server that has an IPv6 address; name servers that do not answer change nothing."""
    async with environment.database.system() as session:
        servers = (await session.execute(_SERVERS)).all()
    turns = asyncio.Semaphore(_AT_ONCE)
    found = await asyncio.gather(*(_look(environment, server, turns) for server in servers))
    for server, finding in zip(servers, found, strict=True):
        if finding.verdict is (Verdict.WARNED if server.sends else Verdict.PASSED):
            # A server that goes meanwhile has nothing to look at any more.
            with contextlib.suppress(Conflict):
                async with environment.database.system() as session:
                    await request_preflight(session, tenant_id=server.tenant_id, vps_id=server.id)


async def _look(environment: Environment, server: Row[tuple[object, ...]], turns: asyncio.Semaphore) -> Finding:
    async with turns:
        return await check_reverse_dns(environment.inspector.resolvers, server.hostname, server.address)
