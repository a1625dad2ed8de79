"""Which addresses are servers of ours: a tenant's URL may not have us call on them."""

from collections.abc import Sequence

from sqlalchemy import text

from control_plane.webhooks.attempt import IsOurs
from db.session import Database

_IS_OURS = text(
    "SELECT EXISTS (SELECT FROM vps_servers WHERE status <> 'deleted'"
    "  AND (host(ip_address) = ANY(:addresses) OR host(ipv6_address) = ANY(:addresses)))"
    " OR EXISTS (SELECT FROM server_addresses WHERE host(address) = ANY(:addresses))"
)


def knows_servers(database: Database) -> IsOurs:
    """Return what asks the database; its role is the system's."""

    async def is_ours(addresses: Sequence[str]) -> bool:
        async with database.system() as session:
            return bool(await session.scalar(_IS_OURS, {"addresses": list(addresses)}))

    return is_ours
