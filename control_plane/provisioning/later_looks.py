"""Servers in use are looked at again: may mail still leave, has the address its name, is it on a list.

What a preflight found before a server's use says little months later, and what the health checks, alerts and
self-healing make of it would be as old. Lists ask not to be asked often, so a server's turn comes every six hours
(`PENGUIN_LOOK_AGAIN_SECONDS`); where something is not well or could not be told, after a quarter of an hour. Silent
servers are passed over: an agent that does not answer proves nothing about its port.
"""

import datetime as dt
from typing import Any

from sqlalchemy import Row, text

from control_plane.fleet.hearing import SILENT
from control_plane.pipelines.rounds import go_round
from control_plane.preflight.inspection import Subject
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.ipv6 import switch_ipv6

#: After so long what is not well is looked at again.
SOON = dt.timedelta(minutes=15)
#: Servers of one round, how many of them are looked at side by side, and seconds for one: lists may be away.
_MOST, _AT_ONCE, _SECONDS = 200, 20, 120.0

_DUE = text(
    "SELECT v.tenant_id, v.id, v.hostname, host(v.ip_address) AS ipv4_address, host(v.ipv6_address) AS ipv6_address"
    " FROM vps_servers v"
    " LEFT JOIN (SELECT vps_id, max(checked_at) AS looked_at, bool_or(verdict IN ('failed', 'pending')) AS is_bad"
    "  FROM preflight_results GROUP BY vps_id) p ON p.vps_id = v.id"
    " WHERE v.status = 'ready' AND v.monitoring_enabled AND v.ip_address IS NOT NULL AND v.link_session IS NOT NULL"
    "  AND v.last_seen_at >= CAST(:heard_since AS timestamptz) AND coalesce(p.looked_at <= CAST(:now AS timestamptz)"
    "   - CASE WHEN p.is_bad THEN CAST(:soon AS interval) ELSE CAST(:every AS interval) END, true)"
    " ORDER BY p.looked_at NULLS FIRST, v.id LIMIT :most"
)


async def look_again(environment: Environment) -> None:
    """Look at the servers whose turn it is, and keep what is found as a preflight does."""
    now = environment.clock()
    every = dt.timedelta(seconds=environment.settings.look_again_seconds)
    due = {"now": now, "heard_since": now - SILENT, "soon": SOON, "every": every, "most": _MOST}
    async with environment.database.system() as session:
        servers = (await session.execute(_DUE, due)).all()

    async def look(row: Row[Any]) -> None:
        server = Subject(row.tenant_id, row.id, row.hostname, row.ipv4_address, row.ipv6_address)
        findings = await environment.inspector.inspect(environment.database, server)
        async with environment.database.system() as session:
            await switch_ipv6(session, server.vps_id, server.ipv6_address, findings)

    await go_round("what is known of server", servers, look, at_once=_AT_ONCE, seconds=_SECONDS)
