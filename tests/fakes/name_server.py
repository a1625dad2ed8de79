"""A resolver of a test's own on loopback: answers what it was given, over UDP, and keeps what it was asked."""

import asyncio
import contextlib
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TTL = 300


@dataclass
class FakeNameServer:
    """`records` by name without final dot and type; a name of `broken` (or below it) is answered with SERVFAIL."""

    records: dict[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    port: int = 0

    def list_address(self, zone: str, address: str, *codes: str) -> None:
        """Put an address into a blocklist, as RFC 5782 says."""
        self.records[f"{ipaddress.ip_address(address).reverse_pointer.rsplit('.', 2)[0]}.{zone}", "A"] = codes

    def point(self, address: str, *names: str) -> None:
        """Give an address a PTR record."""
        self.records[ipaddress.ip_address(address).reverse_pointer, "PTR"] = [f"{name}." for name in names]

    def answer(self, question: bytes) -> bytes:
        """Answer one datagram."""
        query = dns.message.from_wire(question)
        (asked,) = query.question
        name, type_ = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked[name, type_] += 1
        response = dns.message.make_response(query, recursion_available=True)
        if any(name == each or name.endswith(f".{each}") for each in self.broken):
            response.set_rcode(dns.rcode.SERVFAIL)
        elif values := self.records.get((name, type_)):
            response.answer.append(dns.rrset.from_text(asked.name, _TTL, "IN", type_, *values))
        else:
            if not any(known == name for known, _ in self.records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            soa = f"ns1.example. hostmaster.example. 1 3600 600 86400 {_TTL}"
            response.authority.append(dns.rrset.from_text(asked.name.parent(), _TTL, "IN", "SOA", soa))
        return response.to_wire()


class _Door(asyncio.DatagramProtocol):
    def __init__(self, server: FakeNameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._server.answer(data), addr)


@contextlib.asynccontextmanager
async def running_name_server() -> AsyncIterator[FakeNameServer]:
    server = FakeNameServer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Door(server), local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
