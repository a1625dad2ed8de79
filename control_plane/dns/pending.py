"""The periodic look at records: those that are missing are written down, those not verified are verified."""

import uuid

from sqlalchemy import text

from control_plane.dns.generate import generate_records
from control_plane.dns.verify import verify_inbox
from db.session import Database

# Inboxes whose records do not name their server's address: it changed, or they were never generated.
_DOMAINS_OUT_OF_DATE = text(
    "SELECT DISTINCT i.tenant_id, i.domain_id FROM inboxes i JOIN vps_servers v ON v.id = i.vps_id"
    " WHERE i.status <> 'deleting' AND v.ip_address IS NOT NULL AND NOT EXISTS (SELECT FROM dns_records r"
    "  WHERE r.inbox_id = i.id AND r.record_type = 'A' AND r.record_value = host(v.ip_address))"
)
_UNVERIFIED_INBOXES = text(
    "SELECT id, tenant_id FROM inboxes i WHERE status = 'pending_dns'"
    " OR (status = 'ready' AND EXISTS (SELECT FROM dns_records r"
    "  WHERE r.inbox_id = i.id AND r.verification_status <> 'verified'))"
)


async def generate_missing(database: Database) -> None:
    """Bring the rows of every domain up to date whose servers' addresses are not in them."""
    async with database.system() as session:
        domains = (await session.execute(_DOMAINS_OUT_OF_DATE)).all()
    for tenant_id, domain_id in domains:
        async with database.system() as session:
            await generate_records(session, tenant_id, domain_id)


async def verify_pending(database: Database, nameservers: tuple[str, ...]) -> None:
    """Verify the records of each inbox that has any left to verify."""
    async with database.system() as session:
        inboxes: list[tuple[uuid.UUID, uuid.UUID]] = [tuple(row) for row in await session.execute(_UNVERIFIED_INBOXES)]
    for inbox_id, tenant_id in inboxes:
        await verify_inbox(database, inbox_id, tenant_id, nameservers)
