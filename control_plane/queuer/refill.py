"""Keep the streams whole: what is leased must be in Redis until its agent has taken it.

Redis may forget at any moment. A server whose epoch key is missing gets its groups and the envelopes of all its leased
sends again, under the leases that they have; then the key is set. Each turn writes one page of them for each such
server, so that a server with much to write again holds up neither others nor what was lost elsewhere; a filling that
Redis forgets half-way begins anew. Envelopes are lost without Redis forgetting when a
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

from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.statements import REFILL_PAGE, leased_sends, servers, stale_servers
from control_plane.queuer.streams import begin_filling, gone_before, look, mark_whole, write
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
class _Filling:
    """How far a server's streams have been written again."""

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    #: Without its message.
    last: LeasedSend | None = None
    written: int = 0


@dataclass(slots=True)
class Refill:
    """Looks at all servers' streams and fills those that are not whole."""

    database: Database
    redis: Redis
    monotonic: Callable[[], float] = time.monotonic
    _stale_at: dict[uuid.UUID, float] = field(default_factory=dict)
    _fillings: dict[uuid.UUID, _Filling] = field(default_factory=dict)

    async def look_at_all(self) -> float:
        """Fill some of what must be filled and return the seconds until the next look: none while more is to do."""
        depths = await look(self.redis, await servers(self.database))
        lacking = [vps_id for vps_id, depth in depths.items() if not depth.whole]
        # Another queuer may have made the others whole.
        self._fillings = {vps_id: self._fillings[vps_id] for vps_id in lacking if vps_id in self._fillings}
        filled = [await self.fill(vps_id) for vps_id in lacking]
        stale = [vps_id for vps_id in await stale_servers(self.database, STALE_SECONDS) if self._is_due(vps_id)]
        for vps_id, deadlines in (await gone_before(self.redis, stale)).items():
            await self._write_lost(vps_id, deadlines)
        return EVERY_SECONDS if all(filled) else 0.0

    async def fill(self, vps_id: uuid.UUID) -> bool:
        """Write the next page of the server's leased sends; after the last, record that its streams are whole.

        Return whether they are. Raises one of `streams.QUEUE_AWAY` when the page could not be written whole.
        """
        filling = self._fillings.get(vps_id)
        if filling is None:
            filling = _Filling()
            await begin_filling(self.redis, vps_id, filling.token)
            self._fillings[vps_id] = filling
        page = await leased_sends(self.database, vps_id, filling.last)
        if page:
            if await write(self.redis, page):
                raise OutOfMemoryError("Redis refuses envelopes")
            filling.last = page[-1]._replace(payload=b"")
            filling.written += len(page)
        if len(page) == REFILL_PAGE:
            return False
        del self._fillings[vps_id]
        if not await mark_whole(self.redis, vps_id, filling.token):
            return False
        _log.info("made the streams of %s whole with %d leased sends", vps_id, filling.written)
        return True

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
