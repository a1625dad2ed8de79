"""All checks of one server, side by side: load, ask, keep. No database session is held while anybody is asked."""

import asyncio
import ipaddress
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from sqlalchemy import text

from control_plane.preflight.ask_blocklists import check_blocklists, not_to_be_asked
from control_plane.preflight.blocklists import SHIPPED, Blocklist, read_blocklists
from control_plane.preflight.clock import judge_clock
from control_plane.preflight.findings import Finding
from control_plane.preflight.port_25 import check_port_25
from control_plane.preflight.resolvers import Resolvers
from control_plane.preflight.results import keep_findings
from control_plane.preflight.reverse_dns import check_reverse_dns
from control_plane.settings import Settings
from db.session import Database

_CLOCK = text("SELECT clock_offset_ms FROM vps_servers WHERE tenant_id = :tenant AND id = :id")


@dataclass(frozen=True, slots=True)
class Subject:
    """The server that is looked at."""

    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    hostname: str
    ipv4_address: str
    ipv6_address: str | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, of both versions."""
        return (self.ipv4_address, self.ipv6_address) if self.ipv6_address else (self.ipv4_address,)


@dataclass(frozen=True, slots=True)
class Inspector:
    """Made once in a process, for its memory of what lists answered.

    `asks_about_all` is whether lists are asked about addresses that are not public, too: where they are our own.
    """

    resolvers: Resolvers
    blocklists: Sequence[Blocklist]
    probes: Sequence[str]
    clock_tolerance_seconds: int
    asks_about_all: bool = field(default=False)

    @classmethod
    def of(cls, settings: Settings) -> "Inspector":
        """Return one as the settings say. Raises `OSError` and `ValueError` for a file of lists that is no good."""
        return cls(
            Resolvers(settings.nameservers),
            read_blocklists(settings.blocklists_file or SHIPPED),
            settings.port25_probe,
            settings.clock_tolerance_seconds,
            asks_about_all=settings.blocklists_file is not None,
        )

    async def inspect(self, database: Database, subject: Subject) -> list[Finding]:
        """Check everything, keep what was found and return it."""
        async with database.tenant(subject.tenant_id) as session:
            offset_ms = await session.scalar(_CLOCK, {"tenant": subject.tenant_id, "id": subject.vps_id})
        port_25, *of_addresses = await asyncio.gather(
            check_port_25(database, subject.tenant_id, subject.vps_id, self.probes),
            *(self._look_up(subject.hostname, address) for address in subject.addresses),
        )
        findings = [*port_25, *chain(*of_addresses), judge_clock(offset_ms, self.clock_tolerance_seconds)]
        async with database.tenant(subject.tenant_id) as session:
            await keep_findings(session, subject.tenant_id, subject.vps_id, subject.ipv4_address, findings)
        return findings

    async def _look_up(self, hostname: str, address: str) -> list[Finding]:
        reverse, listings = await asyncio.gather(
            check_reverse_dns(self.resolvers, hostname, address), self._blocklists(address)
        )
        return [reverse, *listings]

    async def _blocklists(self, address: str) -> list[Finding]:
        if not self.asks_about_all and not ipaddress.ip_address(address).is_global:
            return [not_to_be_asked(address)]
        return await check_blocklists(self.resolvers, self.blocklists, address)
