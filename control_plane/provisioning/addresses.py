"""The row of a server's further address, as steps need it."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text

from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.servers import name_at_provider

_ADDRESS = text(
    "SELECT a.vps_id, a.label, host(a.address) AS address, a.hostname, v.provider, v.status AS server_status"
    " FROM server_addresses a JOIN vps_servers v ON v.tenant_id = a.tenant_id AND v.id = a.vps_id WHERE a.id = :id"
)


@dataclass(frozen=True, slots=True)
class Address:
    """`address` is None until the provider has given it."""

    vps_id: uuid.UUID
    label: str
    address: str | None
    hostname: str
    provider: str
    server_status: str

    @property
    def server_name(self) -> str:
        """The server's name at its provider."""
        return name_at_provider(self.vps_id)


async def load_address(context: StepContext) -> Address:
    """Return the address that the run is about."""
    async with context.environment.database.system() as session:
        row = (await session.execute(_ADDRESS, {"id": context.subject_id})).one()
    return Address(*row)
