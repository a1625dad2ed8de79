"""A server's row, as steps need it."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text

from control_plane.providers.base import Provider
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.states import ServerStatus

#: Says at a provider whose server one is.
VPS_LABEL = "penguin/vps-id"

_SERVER = text(
    "SELECT id, tenant_id, provider, hostname, size, region, host(ip_address) AS ipv4_address,"
    " host(ipv6_address) AS ipv6_address, status"
    " FROM vps_servers WHERE id = :id"
)


@dataclass(frozen=True, slots=True)
class Server:
    """`ipv4_address` is None until the provider has made it, and `ipv6_address` where it has none."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    provider: str
    hostname: str
    size: str
    region: str
    ipv4_address: str | None
    ipv6_address: str | None
    status: ServerStatus

    @property
    def provider_name(self) -> str:
        """Its name at the provider: always the same, so that a create is never repeated."""
        return name_at_provider(self.id)


def name_at_provider(vps_id: uuid.UUID) -> str:
    """Return the name that a server has at its provider: its id decides it."""
    return f"pm-{vps_id.hex[:12]}"


async def load_server(context: StepContext) -> Server:
    """Return the server that the run is about."""
    async with context.environment.database.system() as session:
        row = (await session.execute(_SERVER, {"id": context.subject_id})).one()
    return Server(
        id=row.id,
        tenant_id=row.tenant_id,
        provider=row.provider,
        hostname=row.hostname,
        size=row.size,
        region=row.region,
        ipv4_address=row.ipv4_address,
        ipv6_address=row.ipv6_address,
        status=ServerStatus(row.status),
    )


def provider_of(context: StepContext, server: Server) -> Provider | None:
    """Return the server's provider, or None when this installation no longer has it."""
    return context.environment.providers.get(server.provider)
