"""The installation's Redis: a private one, or the one that `PENGUIN_REDIS_URL` names.

Agents reach either at the agents' endpoint inside the world, over TLS with a certificate of our own authority.
"""

import asyncio
import ssl
from contextlib import AsyncExitStack
from urllib.parse import unquote, urlsplit, urlunsplit

from control_plane.embedded.redis import EmbeddedRedis, RedisTls
from control_plane.errors import InvalidInput
from control_plane.processes.outside import Connection, carried, listen_inside
from control_plane.processes.places import Places
from control_plane.providers.local.network import NAMESPACES
from control_plane.providers.local.world import World

_LOOPBACK = "127.0.0.1"


def private_redis(places: Places, world: World, door: RedisTls, stack: AsyncExitStack) -> EmbeddedRedis:
    """Start the private Redis inside the world; `stack` stops it. Raises `EmbeddedFailed`."""
    redis = EmbeddedRedis(places.runtime / "redis", world.enter, door, places.logs / "redis.log")
    redis.start()
    stack.callback(redis.stop)
    return redis


async def brought_redis(url: str, world: World, door: RedisTls, stack: AsyncExitStack) -> str:
    """Make doors inside the world to the user's Redis, one for agents and one for us, which `stack` keeps.

    Returns the URL that works inside. Raises `InvalidInput` for a URL that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise InvalidInput("PENGUIN_REDIS_URL must be a redis://, rediss:// or unix:// URL")

    async def connect() -> Connection:
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(parts.path))
        tls = ssl.create_default_context() if parts.scheme == "rediss" else None
        return await asyncio.open_connection(parts.hostname or "localhost", parts.port or 6379, ssl=tls)

    namespace = NAMESPACES / world.name
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(door.certificate_file, door.key_file)
    agents = listen_inside(namespace, door.address, door.port)
    await stack.enter_async_context(carried(agents, connect, context))
    if parts.scheme == "unix":
        return url
    ours = listen_inside(namespace, _LOOPBACK, 0)
    await stack.enter_async_context(carried(ours, connect))
    credentials, at, _ = parts.netloc.rpartition("@")
    netloc = f"{credentials}{at}{_LOOPBACK}:{ours.getsockname()[1]}"
    return urlunsplit(("redis", netloc, parts.path, parts.query, ""))
