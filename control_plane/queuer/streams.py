"""The streams in Redis: how full they are, whether Redis forgot them, and writing to them."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from control_plane.queuer import keys
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.round_trip import ask
from protos.queue.v1.envelope_pb2 import Envelope

#: Redis is away, full, or refuses: all mean "later".
QUEUE_AWAY = (RedisError, OSError)

#: A filling that takes longer begins anew.
_FILLING_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Depths:
    """One server's streams: whether they are whole, and their lengths by priority."""

    whole: bool
    lengths: tuple[int, ...]


def connect(url: str) -> Redis:
    """Return a client that tells at once when Redis is away; waiting is up to the caller."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0))


async def look(redis: Redis, vps_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Depths]:
    """Return how the servers' streams are, in one round trip."""
    pipeline = redis.pipeline(transaction=False)
    for vps_id in vps_ids:
        pipeline.exists(keys.epoch(vps_id))
        for name in keys.streams(vps_id):
            pipeline.xlen(name)
    answers = await pipeline.execute()
    width = 1 + len(keys.PRIORITIES)
    rows = [answers[start : start + width] for start in range(0, len(answers), width)]
    return {vps_id: Depths(bool(row[0]), tuple(row[1:])) for vps_id, row in zip(vps_ids, rows, strict=True)}


async def gone_before(redis: Redis, vps_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[str, ...]]:
    """Return, by priority, the lease deadline of what stands first in each server's streams, as a timestamptz.

    What was leased earlier has left its stream, or never came there. For an empty stream it is 'infinity'; a server
    whose streams are not whole is left out.
    """
    pipeline = redis.pipeline(transaction=False)
    for vps_id in vps_ids:
        pipeline.exists(keys.epoch(vps_id))
        for name in keys.streams(vps_id):
            pipeline.xrange(name, count=1)
    answers = await pipeline.execute()
    width = 1 + len(keys.PRIORITIES)
    rows = [answers[start : start + width] for start in range(0, len(answers), width)]
    return {vps_id: tuple(map(_deadline, row[1:])) for vps_id, row in zip(vps_ids, rows, strict=True) if row[0]}


def _deadline(entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> str:
    if not entries:
        return "infinity"
    envelope = Envelope.FromString(entries[0][1][keys.FIELD.encode()])
    return datetime.fromtimestamp(envelope.lease_deadline_ms / 1000, UTC).isoformat()


async def make_groups(redis: Redis, vps_id: uuid.UUID) -> None:
    """Make the server's streams and their consumer group, where they are missing."""
    pipeline = redis.pipeline(transaction=False)
    for name in keys.streams(vps_id):
        pipeline.xgroup_create(name, keys.GROUP, id="0", mkstream=True)
    for answer in await pipeline.execute(raise_on_error=False):
        if isinstance(answer, ResponseError) and "BUSYGROUP" not in str(answer):
            raise answer


async def begin_filling(redis: Redis, vps_id: uuid.UUID, token: str) -> None:
    """Make what the server's streams need and record that they are being filled."""
    await make_groups(redis, vps_id)
    await redis.set(keys.filling(vps_id, token), "1", ex=_FILLING_SECONDS)


async def mark_whole(redis: Redis, vps_id: uuid.UUID, token: str) -> bool:
    """Record that the server's streams hold all that they must; False when Redis forgot what was filled meanwhile."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.rename(keys.filling(vps_id, token), keys.epoch(vps_id))
    pipeline.persist(keys.epoch(vps_id))
    renamed, _ = await pipeline.execute(raise_on_error=False)
    if isinstance(renamed, ResponseError) and str(renamed).startswith("no such key"):
        return False
    if isinstance(renamed, Exception):
        raise renamed
    return True


async def write(redis: Redis, sends: Sequence[LeasedSend]) -> list[LeasedSend]:
    """Add the envelopes, each stream's in order, in one round trip, and return those that Redis refused.

    Raises one of `QUEUE_AWAY` when it is not known which were added; adding one twice is harmless, since the agent
    takes a send once.
    """
    if not sends:
        return []
    streams = _by_stream(sends)
    replies = await ask(redis, [each for line in streams.values() for each in _additions(line)])
    written = [send for line in streams.values() for send in line]
    return [send for send, reply in zip(written, replies, strict=True) if isinstance(reply, ResponseError)]


def _by_stream(sends: Iterable[LeasedSend]) -> dict[tuple[uuid.UUID, int], list[LeasedSend]]:
    """Return the sends by stream: what comes to a stream at once is read at once."""
    streams: dict[tuple[uuid.UUID, int], list[LeasedSend]] = defaultdict(list)
    for send in sends:
        streams[send.vps_id, send.priority].append(send)
    return streams


def _additions(sends: Sequence[LeasedSend]) -> Iterator[bytes]:
    head: tuple[Any, ...] = ("XADD", keys.stream(sends[0].vps_id, sends[0].priority), "*", keys.FIELD)
    for send in sends:
        yield pack_command((*head, send.envelope()))
