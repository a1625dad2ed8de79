"""A domain whose server shows something for it over HTTPS."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text

from control_plane.dns.generate import generate_records
from control_plane.dns.mta_sts import MtaSts, Policy, policy_of
from control_plane.fleet.desired import desired_versions
from control_plane.fleet.policies import add_shown
from db.session import Database
from protos.agent.v1.configuration_pb2 import CertificateAuthority, MailDomain
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server

_ANY_AUTHORITY = CertificateAuthority(directory_url="https://acme.example/dir")


@dataclass(frozen=True)
class Place:
    """A domain with an inbox on a server at 127.0.0.1."""

    database: Database
    tenant: SomeTenant
    vps_id: uuid.UUID
    inbox_id: uuid.UUID
    domain_id: uuid.UUID
    name: str
    hostname: str

    async def version(self, vps_id: uuid.UUID | None = None) -> int:
        async with self.database.system() as session:
            server = vps_id or self.vps_id
            return (await desired_versions(session, [server]))[server]

    async def shown(
        self, vps_id: uuid.UUID | None = None, authority: CertificateAuthority | None = _ANY_AUTHORITY
    ) -> MailDomain:
        """Return the domain as its server is told to have it."""
        domain = MailDomain(name=self.name)
        async with self.database.system() as session:
            await add_shown(session, vps_id or self.vps_id, [domain], authority)
        return domain

    async def verify_records(self, status: str = "verified") -> None:
        async with self.database.system() as session:
            await generate_records(session, self.tenant.id, self.domain_id)
            await session.execute(text("UPDATE dns_records SET verification_status = :s"), {"s": status})

    async def hosts(self) -> list[str]:
        async with self.database.system() as session:
            found: list[str] = await session.scalar(text("SELECT policy_hosts(:d)"), {"d": self.domain_id})
            return found

    async def policy(self, mode: MtaSts = MtaSts.TESTING) -> Policy:
        policy = policy_of(mode, await self.hosts())
        assert policy is not None
        return policy

    async def move_inbox_in(self, vps_id: uuid.UUID) -> None:
        """Give the domain a second inbox, on that server."""
        other = await make_inbox(self.database, self.tenant, vps_id)
        move = text("UPDATE inboxes SET vps_id = NULL WHERE id = :id")
        back = text("UPDATE inboxes SET domain_id = :domain, vps_id = :vps WHERE id = :id")
        async with self.database.system() as session:
            await session.execute(move, {"id": other.id})
            await session.execute(back, {"id": other.id, "domain": self.domain_id, "vps": vps_id})


async def make_place(database: Database, tenant: SomeTenant) -> Place:
    """Make the rows."""
    inbox = await make_inbox(database, tenant, await make_server(database, tenant))
    query = text(
        "SELECT d.id, d.name, v.hostname FROM inboxes i JOIN domains d ON d.id = i.domain_id"
        " JOIN vps_servers v ON v.id = i.vps_id"
    )
    async with database.system() as session:
        await session.execute(text("UPDATE vps_servers SET ip_address = '127.0.0.1'"))
        row = (await session.execute(query)).one()
    return Place(database, tenant, inbox.vps_id, inbox.id, row.id, row.name, row.hostname)
