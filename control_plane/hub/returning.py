"""How a fleet comes back to a hub that went: over so long a time that the hub can open the links as they come."""

import asyncio
import logging
from typing import Never

from sqlalchemy import text

from db.notifications import DATABASE_AWAY
from db.session import Database
from db.undisturbed import undisturbed

#: Links that a hub is to open in a second, well below what it can on one core: TLS handshakes are most of it.
LINKS_PER_SECOND = 300
#: All are to be back in a minute, the hub's own start included.
LONGEST_SECONDS = 30.0
_LOOK_SECONDS = 60.0

_SERVERS = text("SELECT count(*) FROM vps_servers WHERE status <> 'deleted'")

_log = logging.getLogger(__name__)


def spread_seconds(servers: int) -> float:
    """Return over how many seconds so many agents come back."""
    return min(servers / LINKS_PER_SECOND, LONGEST_SECONDS)


class Returning:
    """Knows how large the fleet is; of several hubs one may be the only one left."""

    def __init__(self) -> None:
        self.spread_seconds = 0.0

    async def look(self, database: Database) -> None:
        """Count the fleet. Raises one of `DATABASE_AWAY`."""
        async with database.system() as session:
            self.spread_seconds = spread_seconds(await session.scalar(_SERVERS) or 0)

    async def keep_looking(self, database: Database) -> Never:
        """Count it again and again; while the database is away the last count stands."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await undisturbed(self.look(database))
            except DATABASE_AWAY as error:
                _log.warning("the fleet cannot be counted: %s", type(error).__name__)
