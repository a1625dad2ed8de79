"""A name with an address that mail comes from: a server's own, or that of a further address of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from control_plane.dns.records import DnsRecord, records_for_server
from control_plane.provisioning.addresses import load_address
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.servers import load_server


@dataclass(frozen=True, slots=True)
class Host:
    """`server_name` is the server's at its provider; `address` is None until the provider has given it.

    A further address has no `ipv6_address` beside it, and not every server has one.
    """

    provider: str
    server_name: str
    hostname: str
    address: str | None
    ipv6_address: str | None = None

    @property
    def zone(self) -> str:
        """The platform's zone, in which it is named."""
        return self.hostname.partition(".")[2]

    @property
    def records(self) -> tuple[DnsRecord, ...]:
        """What the zone says of it, once it has an address."""
        records = records_for_server(self.hostname, self.address, self.ipv6_address) if self.address else ()
        return tuple(record for record in records if record.zone == self.zone)


#: Returns the host that a run is about.
LoadHost = Callable[[StepContext], Awaitable[Host]]


async def host_of_server(context: StepContext) -> Host:
    """Return the server itself, of a run about a server."""
    server = await load_server(context)
    return Host(server.provider, server.provider_name, server.hostname, server.ipv4_address, server.ipv6_address)


async def host_of_address(context: StepContext) -> Host:
    """Return the host that an address is, of a run about an address."""
    address = await load_address(context)
    return Host(address.provider, address.server_name, address.hostname, address.address)
