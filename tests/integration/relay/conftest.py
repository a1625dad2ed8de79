import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from control_plane.embedded.redis import EmbeddedRedis, RedisTls
from control_plane.queuer.streams import connect
from tests.fakes.hub import FakeAuthority
from tests.fakes.postfix import FakePostfix
from tests.integration.relay.life import Server


@pytest.fixture(scope="package")
def authority() -> FakeAuthority:
    return FakeAuthority()


@pytest.fixture(scope="package")
def tls_redis(authority: FakeAuthority) -> Iterator[tuple[EmbeddedRedis, str]]:
    """One Redis with a port for agents."""
    with tempfile.TemporaryDirectory(prefix="penguin-redis-") as name:
        directory = Path(name)
        key, certificate = authority.server()
        (directory / "key.pem").write_bytes(key)
        (directory / "certificate.pem").write_bytes(certificate)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        tls = RedisTls(directory / "certificate.pem", directory / "key.pem", "127.0.0.1", port)
        server = EmbeddedRedis(directory / "redis", tls=tls)
        server.start()
        yield server, f"127.0.0.1:{port}"
        server.stop()


@pytest_asyncio.fixture
async def postfix(tmp_path: Path) -> AsyncIterator[FakePostfix]:
    async with FakePostfix(tmp_path / "mail.log").running() as running:
        yield running


@pytest_asyncio.fixture
async def server(
    tmp_path: Path, tls_redis: tuple[EmbeddedRedis, str], authority: FakeAuthority, postfix: FakePostfix
) -> AsyncIterator[Server]:
    redis_server, endpoint = tls_redis
    redis: Redis = connect(redis_server.url)
    made = Server(tmp_path, redis, endpoint, authority.pem, postfix)
    await made.open_queue()
    yield made
    await redis.flushall()
    await redis.aclose()
