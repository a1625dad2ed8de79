"""The certificates that the mail server really serves, as a client on loopback sees them.

A renewed file that no daemon has loaded does not help, so the doors themselves are asked: 25 and 587 after STARTTLS
(RFC 3207), 465 and 993 at once, and 443 under a name of a domain that it is for. Expiry moves slowly: every five
minutes is enough, and sooner while a door is shut.
"""

import asyncio
import contextlib
import dataclasses
import ssl
from collections.abc import Sequence
from typing import Any, cast

from cryptography import x509

from agent.metrics.chains import chain_fault
from protos.agent.v1.telemetry_pb2 import ServedCertificate

#: Seconds between two looks, and after one at which a door could not be read.
INTERVAL = 300.0
INTERVAL_AFTER_ERROR = 30.0
#: Seconds one door may take.
TIMEOUT = 10.0
_CHUNK = 16384


@dataclasses.dataclass(frozen=True, slots=True)
class Door:
    """A port, whether TLS begins with STARTTLS, how to say good-bye, and which name to ask for (RFC 6066), if any."""

    port: int
    starttls: bool
    farewell: bytes = b"QUIT\r\n"
    name: str | None = None


DOORS = (
    Door(25, starttls=True),
    Door(465, starttls=False),
    Door(587, starttls=True),
    Door(993, False, b"a LOGOUT\r\n"),
)
#: It shows nothing without a name.
WEB_DOOR = Door(443, False, b"GET / HTTP/1.0\r\n\r\n")


class CertificateWatch:
    """Keeps what the doors served last in `served`."""

    def __init__(self, doors: Sequence[Door] = DOORS, web_door: Door = WEB_DOOR) -> None:
        self.served: list[ServedCertificate] = []
        self._doors = doors
        self._web_door = web_door
        self._look_again = asyncio.Event()

    def look_again(self, web_name: str | None) -> None:
        """Look soon, for another certificate may be served now; over HTTPS too, under the name, if there is one."""
        self._web_door = dataclasses.replace(self._web_door, name=web_name)
        self._look_again.set()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self._look_again.clear()
            doors = (*self._doors, self._web_door) if self._web_door.name else self._doors
            self.served = [await look_at(door) for door in doors]
            pause = INTERVAL_AFTER_ERROR if any(seen.error for seen in self.served) else INTERVAL
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look_again.wait()


async def look_at(door: Door) -> ServedCertificate:
    """Connect to one door on loopback; a failure is told in the result."""
    try:
        async with asyncio.timeout(TIMEOUT):
            chain = [x509.load_der_x509_certificate(each) for each in await _served_chain(door)]
            fault = chain_fault(chain)
    except TimeoutError:
        return ServedCertificate(port=door.port, error="no answer")
    except (OSError, EOFError, ValueError) as error:
        return ServedCertificate(port=door.port, error=f"{type(error).__name__}: {error}")
    return ServedCertificate(
        port=door.port,
        subject=chain[0].subject.rfc4514_string(),
        issuer=chain[0].issuer.rfc4514_string(),
        not_after_ms=int(chain[0].not_valid_after_utc.timestamp() * 1000),
        chain_length=len(chain),
        chain_fault=fault,
    )


async def _served_chain(door: Door) -> list[bytes]:
    """Return what the door shows (DER), the server's own certificate first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        if door.starttls:
            await _reply(reader, b"220")
            writer.write(b"EHLO localhost\r\n")
            await _reply(reader, b"250")
            writer.write(b"STARTTLS\r\n")
            await _reply(reader, b"220")
        chain = await _shake_hands(reader, writer, door)
        # Postfix closes at QUIT, with what came after it unread: the connection is reset.
        with contextlib.suppress(ConnectionError):
            await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not chain:
        raise ValueError("no certificate was served")
    return chain


async def _shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: Door) -> list[bytes]:
    """Begin TLS, say good-bye, and return what was shown (DER).

    Not by asyncio's own TLS, which takes buffers of 256 KiB for each connection that the agent would then keep.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _looking_context().wrap_bio(incoming, outgoing, server_hostname=door.name)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            received = await reader.read(_CHUNK)
            if not received:
                raise EOFError("the connection ended within the handshake") from None
            incoming.write(received)
    tls.write(door.farewell)
    # A peer may wait for TLS to be closed from here too before it closes the connection.
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.unwrap()
    writer.write(outgoing.read())
    return _shown(tls)


def _shown(tls: ssl.SSLObject) -> list[bytes]:
    # SSLObject has a method for it from Python 3.13 on; what that asks is there from 3.10 on.
    shown = cast("Any", tls)._sslobj.get_unverified_chain()  # noqa: SLF001 - servers have 3.11
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in shown or ()]


async def _reply(reader: asyncio.StreamReader, code: bytes) -> None:
    """Read one SMTP reply, which may have several lines (RFC 5321 section 4.2.1)."""
    while True:
        line = await reader.readline()
        if not line.startswith(code):
            raise ValueError(f"unexpected reply {line[:80]!r}")
        if line[3:4] != b"-":
            return


def _looking_context() -> ssl.SSLContext:
    """Trust anything: the certificate is looked at, and nothing is said over the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
