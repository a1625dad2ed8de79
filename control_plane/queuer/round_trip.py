"""Many commands for Redis in one round trip.

They go past redis-py's pipeline, which spends more on a command than all else together.
"""

import asyncio
import math
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

#: Without a reply for so long, Redis is away.
_ANSWER_SECONDS = 5.0
_PAGE = 100


async def ask(redis: Redis, commands: Sequence[bytes]) -> list[object]:
    """Send packed commands and return the reply to each; of one that Redis refuses it is a `ResponseError`.

    Raises `RedisError` or `OSError` when it is not known which were done.
    """
    connection: AbstractConnection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.send_packed_command(commands)
        return await _replies(connection, len(commands))
    except BaseException:
        # Replies that still come must not be taken for those of the next command.
        await connection.disconnect(nowait=True)
        raise
    finally:
        await redis.connection_pool.release(connection)


async def _replies(connection: AbstractConnection, count: int) -> list[object]:
    replies: list[object] = []
    for start in range(0, count, _PAGE):
        # One clock for many replies: redis-py's own, set for each, costs more than the reply.
        async with asyncio.timeout(_ANSWER_SECONDS):
            replies += [await _reply(connection) for _ in range(min(_PAGE, count - start))]
    return replies


async def _reply(connection: AbstractConnection) -> object:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as refused:
        return refused
