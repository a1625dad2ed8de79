"""Looking at served certificates: real TLS on loopback, with and without STARTTLS, and doors that misbehave."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from agent.metrics.certificates import CertificateWatch, Door, look_at
from tests.fakes.hub import FakeAuthority

Speaker = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return showing(tmp_path / "pair.pem", *FakeAuthority().server())


def showing(pair: Path, *parts: bytes) -> ssl.SSLContext:
    """Show what is in the file, the key among it (PEM)."""
    pair.write_bytes(b"".join(parts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context


@contextlib.asynccontextmanager
async def served(speak: Speaker, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await speak(reader, writer)
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def wait_for_farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()


async def test_a_door_with_tls_at_once_is_read(context: ssl.SSLContext) -> None:
    async with served(wait_for_farewell, context) as port:
        seen = await look_at(Door(port, starttls=False))
    assert (seen.port, seen.error, seen.issuer) == (port, "", "CN=test authority")
    assert seen.not_after_ms > 0
    assert (seen.chain_length, seen.chain_fault) == (1, "")


async def test_a_chain_is_looked_at_as_it_is_shown(tmp_path: Path) -> None:
    authority, stranger = FakeAuthority(), FakeAuthority()
    for shown, fault in ((authority.pem, ""), (stranger.pem, "with other certificates than its issuer's")):
        async with served(wait_for_farewell, showing(tmp_path / "pair.pem", *authority.server(), shown)) as port:
            seen = await look_at(Door(port, starttls=False))
        assert (seen.error, seen.issuer, seen.chain_length) == ("", "CN=test authority", 2)
        assert seen.chain_fault == fault


async def test_a_door_with_starttls_is_read(context: ssl.SSLContext) -> None:
    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220-mx.example\r\n220 ESMTP\r\n")
        assert await reader.readline() == b"EHLO localhost\r\n"
        writer.write(b"250-mx.example\r\n250 STARTTLS\r\n")
        assert await reader.readline() == b"STARTTLS\r\n"
        writer.write(b"220 go ahead\r\n")
        await writer.start_tls(context)
        assert await reader.readline() == b"QUIT\r\n"

    async with served(smtp) as port:
        seen = await look_at(Door(port, starttls=True))
    assert (seen.error, seen.issuer) == ("", "CN=test authority")


async def test_a_door_that_resets_the_connection_at_the_good_bye_is_read(context: ssl.SSLContext) -> None:
    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ESMTP\r\n")
        await reader.readline()
        writer.write(b"250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go ahead\r\n")
        await writer.start_tls(context)
        await reader.readline()
        # With nothing to linger for, what is aborted is reset (socket(7)).
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with served(smtp) as port:
        seen = await look_at(Door(port, starttls=True))
    assert (seen.error, seen.issuer) == ("", "CN=test authority")


@pytest.mark.parametrize("words", [b"", b"421 busy\r\n", b"220", b"\x00\xff" * 50000])
async def test_a_door_that_misbehaves_is_told_with_its_error(words: bytes) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)

    async with served(babble) as port:
        for starttls in (True, False):
            seen = await look_at(Door(port, starttls=starttls))
            assert seen.error
            assert seen.not_after_ms == 0


async def test_a_shut_door_is_told_with_its_error() -> None:
    async with served(wait_for_farewell) as port:
        pass
    assert "refused" in (await look_at(Door(port, starttls=False))).error.lower()


async def test_what_is_shown_over_https_is_looked_at_under_a_name_once_there_is_one(context: ssl.SSLContext) -> None:
    asked: list[str | None] = []
    looked_before = asyncio.Event()

    def know(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        asked.append(name)
        if len(asked) > 1:
            looked_before.set()
        watch.look_again(name)

    context.sni_callback = know
    async with served(wait_for_farewell, context) as port:
        watch = CertificateWatch((), Door(port, starttls=False))
        watching = asyncio.create_task(watch.run())
        await asyncio.sleep(0)
        assert (watch.served, asked) == ([], [])
        watch.look_again("mta-sts.shop.example")
        async with asyncio.timeout(10):
            await looked_before.wait()
        watching.cancel()
    assert [(seen.port, seen.error, seen.issuer) for seen in watch.served] == [(port, "", "CN=test authority")]
    assert set(asked) == {"mta-sts.shop.example"}
