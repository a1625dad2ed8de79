"""The resolvers that checks ask, with a memory: a list is asked again when its own answer has run out, not before."""

import asyncio
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from control_plane.dns.resolve import QUESTION_TIMEOUT, NoAnswer

_REMEMBERED = 10_000
#: Questions under way at one time, so that resolvers and lists take us for what we are.
_AT_ONCE = 8


class Resolvers:
    """Asks `nameservers`, which must be resolvers wherever lists are to be asked."""

    def __init__(self, nameservers: Sequence[str], port: int = 53) -> None:
        self.nameservers = tuple(nameservers)
        self.port = port
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = list(nameservers)
        self._resolver.port = port
        # For as long as the answer's TTL says, and a denial's SOA (RFC 2308).
        self._resolver.cache = dns.resolver.LRUCache(_REMEMBERED)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def addresses_of(self, fqdn: str) -> frozenset[str]:
        """Return the IPv4 addresses of a name, none when it has none. Raises `NoAnswer`."""
        async with self._turns:
            try:
                answer = await self._resolver.resolve(
                    dns.name.from_text(fqdn), "A", lifetime=QUESTION_TIMEOUT, raise_on_no_answer=False
                )
            except dns.resolver.NXDOMAIN:
                return frozenset()
            except (dns.exception.DNSException, OSError) as error:
                raise NoAnswer(f"no answer for {fqdn} A: {error}") from error
        return frozenset(rdata.to_text() for rdata in answer.rrset or ())
