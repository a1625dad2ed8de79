"""The connection to Redis, over real TLS on loopback."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.relay.queue_connection import QueueAway, QueueRefused, connected
from protos.agent.v1.link_pb2 import QueueAccess
from tests.fakes.hub import FakeAuthority


class Redis:
    """Answers each command as told, and does not say good-bye."""

    def __init__(self, folder: Path) -> None:
        self.authority = FakeAuthority()
        key, certificate = self.authority.server()
        (folder / "pair.pem").write_bytes(key + certificate)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "pair.pem")
        self.says = b"+OK\r\n"
        self._left = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[QueueAccess]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield QueueAccess(endpoint=place, username="vps-1", password="fish", ca_pem=self.authority.pem)
            await self._left.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._tls.wrap_bio(incoming, outgoing, server_side=True)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                incoming.write(data)
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                    tls.do_handshake()
                    while tls.read():
                        tls.write(self.says)
                writer.write(outgoing.read())
        self._left.set()


@pytest.fixture
def redis(tmp_path: Path) -> Redis:
    return Redis(tmp_path)


async def test_a_command_is_answered_once_logged_in(redis: Redis) -> None:
    async with redis.listening() as access, connected(access) as connection:
        assert await connection.call(("PING",)) == [b"OK"]


async def test_credentials_that_are_refused_are_told_from_a_queue_that_is_away(redis: Redis) -> None:
    redis.says = b"-WRONGPASS invalid username-password pair\r\n"
    async with redis.listening() as access:
        with pytest.raises(QueueRefused):
            async with connected(access):
                pass


async def test_a_queue_that_is_away_is_let_go_at_once(redis: Redis) -> None:
    """Sends wait in it meanwhile."""
    async with redis.listening() as access:
        with pytest.raises(QueueAway, match="no answer"):
            async with asyncio.timeout(10), connected(access):
                raise QueueAway("no answer")
