"""Looks at a server's mail ports from here: does it answer, does it speak, which certificate does it show.

SECURITY: goes to servers of ours alone, by their rows' addresses, sends no mail and trusts nothing it reads. A private
address is somebody else's everywhere but in its own network: it is looked at only by whoever has an address there.
"""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509

#: Seconds one port may take.
TIMEOUT = 5.0
#: Seconds until a port that did not answer is looked at again.
SECOND_LOOK_AFTER = 5.0
#: Ports, and whether TLS begins with STARTTLS there.
DOORS = {25: True, 465: False, 587: True, 993: False}
_LONGEST_REPLY = 100
#: Where so many servers, and one of so many, show a shut port in one round, whoever looks is at fault.
_MANY, _ONE_OF = 5, 3
#: Prefix lengths of what counts as one private network.
_NEAR_V4, _NEAR_V6 = 16, 64


@dataclass(frozen=True, slots=True)
class Look:
    """What one port showed; `error` is empty when it answered as a mail server does."""

    not_after: dt.datetime | None = None
    error: str = ""


async def look_at(address: str) -> Mapping[int, Look]:
    """Look at all ports of a server, again at those that were shut: it may just have been restarted.

    At none when its address is private and not of our network.
    """
    if not may_be_looked_at(address):
        return {}
    looks = await _look_at_ports(address, DOORS)
    if shut := [port for port, look in looks.items() if look.error]:
        await asyncio.sleep(SECOND_LOOK_AFTER)
        looks |= await _look_at_ports(address, shut)
    return looks


def believable(looks: Mapping[uuid.UUID, Mapping[int, Look]]) -> dict[uuid.UUID, Mapping[int, Look]]:
    """Return what a round of looks says of servers: nothing of those with a shut port, when they are many.

    Servers do not fail together; a control plane without time or network finds them so. Their agents are still heard.
    """
    shut = {server for server, found in looks.items() if any(look.error for look in found.values())}
    ours = len(shut) >= _MANY and len(shut) * _ONE_OF >= len(looks)
    return {server: {} if ours and server in shut else found for server, found in looks.items()}


async def _look_at_ports(address: str, ports: Iterable[int]) -> dict[int, Look]:
    looked = list(ports)
    looks = await asyncio.gather(*(_look(address, port, starttls=DOORS[port]) for port in looked))
    return dict(zip(looked, looks, strict=True))


def may_be_looked_at(address: str) -> bool:
    """Return whether an address is public, or in a private network where this machine has an address."""
    there = ipaddress.ip_address(address)
    if there.is_global:
        return True
    here = _source_towards(there)
    near = _NEAR_V4 if there.version == 4 else _NEAR_V6
    return here is not None and here in ipaddress.ip_network((there, near), strict=False)


def _source_towards(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return our address on the way there; nothing is sent for that."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return None
        return ipaddress.ip_address(probe.getsockname()[0])


async def _look(address: str, port: int, *, starttls: bool) -> Look:
    try:
        async with asyncio.timeout(TIMEOUT):
            return Look(not_after=await _certificate_end(address, port, starttls=starttls))
    except TimeoutError:
        return Look(error="no answer")
    except (OSError, EOFError, ValueError) as error:
        return Look(error=f"{type(error).__name__}: {error}"[:200])


async def _certificate_end(address: str, port: int, *, starttls: bool) -> dt.datetime:
    context = _looking_context()
    reader, writer = await asyncio.open_connection(address, port, ssl=None if starttls else context)
    try:
        if starttls:
            await _reply(reader, b"220")
            writer.write(b"EHLO monitoring.invalid\r\n")
            await _reply(reader, b"250")
            writer.write(b"STARTTLS\r\n")
            await _reply(reader, b"220")
            await writer.start_tls(context)
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.write(b"a LOGOUT\r\n" if port == 993 else b"QUIT\r\n")
        with contextlib.suppress(OSError):
            await writer.drain()
    finally:
        writer.close()
    if shown is None:
        raise ValueError("no certificate was shown")
    return x509.load_der_x509_certificate(shown).not_valid_after_utc


async def _reply(reader: asyncio.StreamReader, code: bytes) -> None:
    """Read one SMTP reply, which may have several lines (RFC 5321 section 4.2.1)."""
    for _ in range(_LONGEST_REPLY):
        line = await reader.readline()
        if not line.startswith(code):
            raise ValueError(f"unexpected reply {line[:80]!r}")
        if line[3:4] != b"-":
            return
    raise ValueError("a reply without end")


def _looking_context() -> ssl.SSLContext:
    """Trust anything: the certificate is looked at, and nothing is said over the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
