"""What an agent may do in Redis: one ACL user per server, for its own streams and the few commands it needs.

The password is random and new with each grant, and is kept nowhere but with the agent: when Redis has forgotten its
users, the agent is refused, asks again over its link, and is granted anew.
"""

import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from control_plane.errors import Unavailable
from control_plane.queuer import keys
from control_plane.queuer.round_trip import ask
from control_plane.queuer.streams import QUEUE_AWAY
from protos.agent.v1.link_pb2 import QueueAccess

#: What taking from a stream takes, and what a client says at the start of a connection. CLIENT SETINFO is not among
#: them: Redis 7.0 does not know it and so refuses the rule, and clients go on without it.
_COMMANDS = (
    "+xreadgroup",
    "+xautoclaim",
    "+xack",
    "+xdel",
    "+xlen",
    "+ping",
    "+auth",
    "+hello",
    "+client|setname",
)
_PASSWORD_BYTES = 32
_USER_PREFIX = "vps-"

_log = logging.getLogger(__name__)


async def grant(redis: Redis, servers: Sequence[uuid.UUID], endpoint: str, ca_pem: bytes) -> list[QueueAccess]:
    """Give servers' agents new passwords; connections that they have open go on. Raises `Unavailable`."""
    granted = [_new_access(vps_id, endpoint, ca_pem) for vps_id in servers]
    try:
        replies = await ask(redis, [_making_user(access) for access in granted])
    except QUEUE_AWAY as error:
        raise Unavailable(f"the queue is away: {type(error).__name__}") from error
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise Unavailable(f"the queue refuses: {type(reply).__name__}") from reply
    return granted


async def revoke(redis: Redis, vps_id: uuid.UUID) -> None:
    """Take a server's access and its streams away, and cut its connections. Raises one of `streams.QUEUE_AWAY`.

    What was leased to it stays in PostgreSQL. The user goes last: as long as it is there, `revoke_others` comes again.
    """
    await redis.delete(keys.epoch(vps_id), *keys.streams(vps_id))
    await redis.acl_deluser(username(vps_id))


async def revoke_others(redis: Redis, may_stay: Callable[[], Awaitable[Collection[uuid.UUID]]]) -> None:
    """Revoke the access of every server but those that may stay.

    They are asked for after the users were read: a server's row is there before its first grant, so nobody who
    was just granted access is taken for a stranger. Raises one of `streams.QUEUE_AWAY`.
    """
    granted = {vps_id for name in await redis.acl_users() if (vps_id := _server_of(name))}
    for vps_id in granted.difference(await may_stay()):
        await revoke(redis, vps_id)
        _log.info("took the queue away from %s", vps_id)


def username(vps_id: uuid.UUID) -> str:
    """Return the name of a server's ACL user."""
    return f"{_USER_PREFIX}{vps_id}"


def _new_access(vps_id: uuid.UUID, endpoint: str, ca_pem: bytes) -> QueueAccess:
    return QueueAccess(
        endpoint=endpoint,
        username=username(vps_id),
        password=secrets.token_urlsafe(_PASSWORD_BYTES),
        ca_pem=ca_pem,
        key_prefix=keys.prefix(vps_id),
    )


def _making_user(access: QueueAccess) -> bytes:
    rules = ("reset", "on", f">{access.password}", f"~{access.key_prefix}:*", *_COMMANDS)
    command: tuple[Any, ...] = ("ACL", "SETUSER", access.username, *rules)
    packed: bytes = pack_command(command)
    return packed


def _server_of(user: bytes | str) -> uuid.UUID | None:
    """Return the server that an ACL user is for, or None for a user that we did not make."""
    name = user.decode() if isinstance(user, bytes) else user
    try:
        vps_id = uuid.UUID(name.removeprefix(_USER_PREFIX))
    except ValueError:
        return None
    return vps_id if username(vps_id) == name else None
