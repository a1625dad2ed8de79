"""Keep the streams whole: what is leased must be in Redis until its agent has taken it.

Redis may forget at any moment. A server whose epoch key is missing gets its groups and the envelopes of all its leased
sends again, under the leases that they have; then the key is set. Envelopes are lost without Redis forgetting when a
queuer dies between the commit and the write: a send that was leased some time ago, and before what stands first in its
stream, was either taken or never written. It is written again, but seldom, since the agent may have it and only its
news may be late. The agent takes a send once, so writing one twice costs a little work and nothing else.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from control_plane.queuer.statements import leased_sends, servers, stale_servers
from control_plane.queuer.streams import gone_before, look, make_groups, mark_whole, write
from db.session import Database

#: Seconds between two looks at all servers.
EVERY_SECONDS = 2.0
#: An agent takes what is in its streams within seconds.
STALE_SECONDS = 15.0
STALE_AGAIN_SECONDS = 60.0
#: Envelopes written again at a time for one server.
MOST_LOST = 1000

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
        stale = [vps_id for vps_id in await stale_servers(self.database, STALE_SECONDS) if self._is_due(vps_id)]
        for vps_id, deadlines in (await gone_before(self.redis, stale)).items():
            await self._write_lost(vps_id, deadlines)
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
            page = await leased_sends(self.database, vps_id, page[-1])
        await mark_whole(self.redis, vps_id)
        _log.info("made the streams of %s whole with %d leased sends", vps_id, written)

    def _is_due(self, vps_id: uuid.UUID) -> bool:
        return self.monotonic() - self._stale_at.get(vps_id, float("-inf")) >= STALE_AGAIN_SECONDS

    async def _write_lost(self, vps_id: uuid.UUID, deadlines: Sequence[str]) -> None:
        """Write what is not in the streams and was not told of; so much at a time as cannot fill Redis."""
        page = await leased_sends(self.database, vps_id, gone_before=deadlines, seconds=STALE_SECONDS)
        written = 0
        while page and written < MOST_LOST:
            if await write(self.redis, page):
                raise OutOfMemoryError("Redis refuses envelopes")
            written += len(page)
            page = await leased_sends(self.database, vps_id, page[-1], gone_before=deadlines, seconds=STALE_SECONDS)
        if written:
            self._stale_at[vps_id] = self.monotonic()
            _log.info("wrote %d sends again that %s did not tell of", written, vps_id)
