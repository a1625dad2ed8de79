"""Whether a session goes on: asked with each request of a person, so Redis answers and PostgreSQL is the truth.

`people:session:<id>` in Redis is "live" for half a minute after PostgreSQL said so, or "ended" for longer than any
access token of the session lasts. "live" is never written over anything, so an answer that was on its way cannot hide
an end. Without Redis each request asks PostgreSQL. An end that could not be told to Redis takes effect when "live" has
run out there.
"""

import datetime as dt
import logging
import uuid
from collections.abc import Iterable

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import text

from db.session import Database

_log = logging.getLogger(__name__)

_LIVE, _ENDED = b"live", b"ended"
_LIVE_SECONDS = 30
#: More than an access token lasts (identity/access_tokens.py).
_ENDED_SECONDS = 900
#: Without a reply for so long, Redis is away.
_ANSWER_SECONDS = 1.0
_AWAY = (RedisError, OSError)

_IS_LIVE = text("SELECT EXISTS (SELECT FROM sessions WHERE id = :id AND ended_at IS NULL AND expires_at > :now)")


class SessionStates:
    """One for a process; without a URL PostgreSQL is asked each time."""

    def __init__(self, database: Database, redis_url: str) -> None:
        self._database = database
        self._redis = _connect(redis_url) if redis_url else None

    async def is_live(self, session_id: uuid.UUID, now: dt.datetime) -> bool:
        """Return whether the session has not ended."""
        known = await self._known(session_id)
        if known is not None:
            return known == _LIVE
        async with self._database.system() as session:
            live = bool(await session.scalar(_IS_LIVE, {"id": session_id, "now": now}))
        if live:
            await self._tell([session_id], _LIVE, _LIVE_SECONDS, unless_known=True)
        return live

    async def note_end(self, session_ids: Iterable[uuid.UUID]) -> None:
        """Have it known at once that these ended; PostgreSQL has it already."""
        await self._tell(session_ids, _ENDED, _ENDED_SECONDS, unless_known=False)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.aclose()

    async def _known(self, session_id: uuid.UUID) -> bytes | None:
        if self._redis is None:
            return None
        try:
            known = await self._redis.get(_name(session_id))
        except _AWAY:
            return None
        return known if isinstance(known, bytes) else None

    async def _tell(self, session_ids: Iterable[uuid.UUID], state: bytes, seconds: int, *, unless_known: bool) -> None:
        if self._redis is None:
            return
        try:
            for session_id in session_ids:
                await self._redis.set(_name(session_id), state, ex=seconds, nx=unless_known)
        except _AWAY as error:
            _log.warning("Redis was not told that sessions are %s: %s", state.decode(), type(error).__name__)


def _name(session_id: uuid.UUID) -> str:
    return f"people:session:{session_id}"


def _connect(url: str) -> Redis:
    return Redis.from_url(
        url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
    )
