"""Takes envelopes from this server's Redis streams into the journal, and only then out of Redis.

Each stream has a reader of its own, so that a full hand of one priority never holds up another. A reader first reads
again what it was given and did not acknowledge, then what is new. Redis may lose everything at any moment: the queuer
writes envelopes again, and the journal knows those that came before.

SECURITY: as the ACL user of this server, over TLS with the control plane's own certificate authority.
DIAGNOSTICS: `redis_connected` in the health report; the log says why when it is false.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from agent.journal import Arrival, Journal, Malformed, Taken
from agent.relay.delays import delay_after
from agent.relay.envelopes import NotAnEnvelope, read_entry
from agent.relay.hand import Hand, Send
from agent.relay.patience import persist
from agent.relay.priorities import PRIORITIES, STREAMS
from agent.relay.race import race
from agent.uplink.latest import Latest
from protos.agent.v1.link_pb2 import QueueAccess

GROUP = "agent"
CONSUMER = "agent"
#: Seconds that one read waits for something new, and that any answer may take on top.
_BLOCK = 5.0
_ANSWER = 5.0
#: Seconds between looks for a consumer group that the queuer has not made (again) yet.
_GROUP_PAUSE = 0.5
#: Seconds after which credentials that were refused are tried again, should no new ones come.
_ACCESS_PAUSE = 10.0

_log = logging.getLogger(__name__)

#: Entries of a stream: id and fields; no fields when the entry was deleted meanwhile.
Entries = Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]


class Taker:
    """Fills `hand`, as far as it has room, with what the streams have."""

    def __init__(
        self,
        journal: Journal,
        hand: Hand,
        access: Latest[QueueAccess],
        request_access: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._hand = hand
        self._access = access
        self._request_access = request_access
        self.connected = False

    async def run(self) -> None:
        """Take until cancelled, under whatever access is the latest."""
        failures = 0
        while True:
            access = self._access.get() or await self._access.changed()
            try:
                await self._take_as(access)
            except (RedisError, OSError) as error:
                if _is_refusal(error):
                    _log.warning("the queue refuses this server: %s", error)
                    self.connected = False
                    self._request_access()
                    await self._another_access(access)
                    continue
                _log.warning("the queue is away: %s", error)
                failures = 1 if self.connected else failures + 1
                self.connected = False
                await asyncio.sleep(delay_after(failures))

    async def _take_as(self, access: QueueAccess) -> None:
        """Take until the queue fails or another access has come."""
        async with connect(access) as client:
            readers = [
                self._read_stream(client, f"{access.key_prefix}:{STREAMS[priority]}", priority)
                for priority in PRIORITIES
            ]
            await race(self._access_replaced(access), *readers)

    async def _access_replaced(self, access: QueueAccess) -> None:
        while self._access.get() is access:
            await self._access.changed()

    async def _another_access(self, access: QueueAccess) -> None:
        try:
            async with asyncio.timeout(_ACCESS_PAUSE):
                await self._access_replaced(access)
        except TimeoutError:
            return

    async def _read_stream(self, client: Redis, stream: str, priority: int) -> None:
        again = True
        while True:
            room = await self._hand.room(priority)
            entries = await self._read(client, stream, room, again=again)
            self.connected = True
            if entries is None:
                again = True
                await asyncio.sleep(_GROUP_PAUSE)
                continue
            again = again and bool(entries)
            if entries:
                # Whole, even when access is replaced meanwhile: what the journal has, the hand must have.
                await asyncio.shield(asyncio.ensure_future(self._keep(stream, priority, entries)))
                await _remove(client, stream, entries)

    async def _read(self, client: Redis, stream: str, count: int, *, again: bool) -> Entries | None:
        """Return entries: those not acknowledged, or new ones; None when there is no group to read as."""
        start, block = ("0", None) if again else (">", int(_BLOCK * 1000))
        try:
            answer: Any = await client.xreadgroup(GROUP, CONSUMER, {stream: start}, count=count, block=block)
        except ResponseError as error:
            # Redis was flushed, or is new; the queuer makes the group. A stream that goes away under a reader is told
            # in other words.
            if str(error).startswith(("NOGROUP", "UNBLOCKED")):
                return None
            raise
        entries: Entries = answer[0][1] if answer else []
        return entries

    async def _keep(self, stream: str, priority: int, entries: Entries) -> None:
        taken: list[Taken] = []
        for entry_id, fields in entries:
            try:
                if fields is not None:
                    taken.append(Taken(read_entry(fields), priority))
            except NotAnEnvelope as fault:
                await self._set_aside(stream, entry_id, fields or {}, str(fault))
        arrivals = await persist(partial(self._journal.take, taken))
        for each, arrival in zip(taken, arrivals, strict=True):
            if arrival is Arrival.TAKE:
                send = Send(each.envelope, priority)
                self._hand.hold(send)
                self._hand.offer(send)
            elif arrival in {Arrival.REPLACE, Arrival.ADOPT}:
                self._hand.renew(each.envelope)

    async def _set_aside(self, stream: str, entry_id: bytes, fields: Mapping[bytes, bytes], reason: str) -> None:
        _log.error("set aside entry %s of %s: %s", entry_id.decode(), stream, reason)
        content = b"\n".join(name + b"=" + value for name, value in fields.items())
        await persist(partial(self._journal.set_aside, Malformed(stream, entry_id.decode(), reason, content)))


def _is_refusal(error: Exception) -> bool:
    """Whether other credentials are needed; redis-py does not always say so by the error's class."""
    known = isinstance(error, AuthenticationError | NoPermissionError)
    return known or any(word in str(error) for word in ("WRONGPASS", "NOAUTH", "NOPERM"))


class PinnedConnection(SSLConnection):
    """A connection that trusts our own authority alone.

    redis-py would make a context for each connection, and each would hold all the system's authorities: 2.4 MiB, and
    anyone they vouch for.
    """

    def __init__(self, *, pinned: ssl.SSLContext, **options: Any) -> None:  # noqa: ANN401 - passed on as it came
        super().__init__(**options)
        self.ssl_context.context = pinned


@lru_cache(maxsize=1)
def _trusting(ca_pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    return context


def connect(access: QueueAccess) -> Redis:
    """Return a client for this access; it connects with its first command and closes its connections at the end."""
    host, _, port = access.endpoint.rpartition(":")
    pool = ConnectionPool(
        connection_class=PinnedConnection,
        pinned=_trusting(access.ca_pem),
        host=host,
        port=int(port),
        username=access.username,
        password=access.password,
        socket_connect_timeout=_ANSWER,
        socket_timeout=_BLOCK + _ANSWER,
        # Tried again by us, who know what has to be read again first.
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )
    return Redis.from_pool(pool)


async def _remove(client: Redis, stream: str, entries: Entries) -> None:
    """Tell Redis to forget what the journal has."""
    ids = [entry_id for entry_id, _ in entries]
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.xack(stream, GROUP, *ids)
        pipeline.xdel(stream, *ids)
        await pipeline.execute()
