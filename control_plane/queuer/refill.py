"""Keep the streams whole: what is leased must be in Redis until its agent has taken it.

Redis may forget at any moment. A server whose epoch key is missing gets its groups and the envelopes of all its leased
sends again, under the leases that they have; then the key is set. Envelopes are lost without Redis forgetting when a
queuer dies between the commit and the write: a server that has had leased sends for long while its streams are empty
is filled again too, but seldom, since the agent may have them and only its news may be late. The agent takes a send
once, so writing one twice costs a little work and nothing else.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from control_plane.queuer.statements import leased_sends, servers, stale_servers
from control_plane.queuer.streams import look, make_groups, mark_whole, write
from db.session import Database

#: Seconds between two looks at all servers.
EVERY_SECONDS = 2.0
#: An agent takes what is in its streams within seconds.
STALE_SECONDS = 15.0
STALE_AGAIN_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Refill:
    """Looks at all servers' streams and fills those that are not whole."""

    database: Database
    redis: Redis
    monotonic: Callable[[], float] = time.monotonic
    _stale_at: dict[uuid.UUID, float] = field(default_factory=dict)

    async def look_at_all(self) -> float:
        """Fill what must be filled and return the seconds until the next look."""
        depths = await look(self.redis, await servers(self.database))
        for vps_id, depth in depths.items():
            if not depth.whole:
                await self.fill(vps_id)
        empty = {vps_id for vps_id, depth in depths.items() if depth.whole and not any(depth.lengths)}
        for vps_id in empty.intersection(await stale_servers(self.database, STALE_SECONDS)):
            await self._fill_stale(vps_id)
        return EVERY_SECONDS

    async def fill(self, vps_id: uuid.UUID) -> None:
        """Write the envelopes of all the server's leased sends, and record that its streams are whole.

        Raises one of `streams.QUEUE_AWAY` when they could not all be written.
        """
        await make_groups(self.redis, vps_id)
        written = 0
        page = await leased_sends(self.database, vps_id)
        while page:
            if await write(self.redis, page):
                raise OutOfMemoryError("Redis refuses envelopes")
            written += len(page)
            page = await leased_sends(self.database, vps_id, page[-1].id)
        await mark_whole(self.redis, vps_id)
        _log.info("made the streams of %s whole with %d leased sends", vps_id, written)

    async def _fill_stale(self, vps_id: uuid.UUID) -> None:
        now = self.monotonic()
        if now - self._stale_at.get(vps_id, float("-inf")) >= STALE_AGAIN_SECONDS:
            self._stale_at[vps_id] = now
            await self.fill(vps_id)
