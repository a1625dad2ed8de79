"""Whether mail goes out by a server's IPv6 address: written to its row with what was found, and told to its agent.

A server without such an address, and one that does as it should already, is left alone.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.desired import raise_desired_version
from control_plane.pipelines.step import Result
from control_plane.preflight.findings import Finding
from control_plane.preflight.ipv6 import may_send_over_ipv6

# The address that was looked at, and no other that took its place.
_SWITCH = text(
    "UPDATE vps_servers SET ipv6_sending_since = CASE WHEN :may THEN now() END"
    " WHERE id = :id AND ipv6_address = CAST(:address AS inet) AND (ipv6_sending_since IS NOT NULL) <> :may"
    " RETURNING id"
)


async def switch_ipv6(
    session: AsyncSession, vps_id: uuid.UUID, ipv6_address: str | None, findings: Sequence[Finding]
) -> Result | None:
    """Let mail go out by the address, or no more; return what changed, if anything did."""
    may = may_send_over_ipv6(findings)
    row = {"id": vps_id, "address": ipv6_address, "may": may}
    if may is None or await session.scalar(_SWITCH, row) is None:
        return None
    await raise_desired_version(session, vps_id)
    return {"sends_over_ipv6": may}
