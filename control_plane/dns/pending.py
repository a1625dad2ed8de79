"""The periodic look at records: those that are missing are written down, those not verified are verified.

Every five minutes what is not verified is looked at again; what is, once a day, for zones drift.
"""

import datetime as dt
from typing import Any

from sqlalchemy import Row, text

from control_plane.dns.generate import generate_records
from control_plane.dns.verify import verify_inbox
from control_plane.pipelines.rounds import go_round
from db.session import Database

# Inboxes whose records do not name their server's address: it changed, or they were never generated. That of version 6
# is among them for as long as the server sends from it.
_DOMAINS_OUT_OF_DATE = text(
    "SELECT DISTINCT i.tenant_id, i.domain_id AS id FROM inboxes i JOIN vps_servers v ON v.id = i.vps_id"
    " WHERE i.status <> 'deleting' AND v.ip_address IS NOT NULL AND (NOT EXISTS (SELECT FROM dns_records r"
    "  WHERE r.inbox_id = i.id AND r.record_type = 'A' AND r.record_value = host(v.ip_address))"
    " OR (v.ipv6_sending_since IS NOT NULL) <> EXISTS (SELECT FROM dns_records r"
    "  WHERE r.inbox_id = i.id AND r.record_type = 'AAAA' AND r.record_value = host(v.ipv6_address)))"
)
_INBOXES_DUE = text(
    "SELECT id, tenant_id FROM inboxes i WHERE status = 'pending_dns'"
    " OR (status = 'ready' AND EXISTS (SELECT FROM dns_records r"
    "  WHERE r.inbox_id = i.id AND (r.verification_status <> 'verified' OR r.last_verified_at < :now - :daily)))"
)
#: Less than a day, so that a job that starts a moment earlier than yesterday's does not wait for tomorrow's.
_DAILY = dt.timedelta(hours=23, minutes=55)
#: Inboxes that are verified side by side, and seconds for one: name servers that are away cost some for each record.
_AT_ONCE, _SECONDS = 8, 60.0


async def generate_missing(database: Database) -> None:
    """Bring the rows of every domain up to date whose servers' addresses are not in them."""
    async with database.system() as session:
        domains = (await session.execute(_DOMAINS_OUT_OF_DATE)).all()

    async def generate(row: Row[Any]) -> None:
        async with database.system() as session:
            await generate_records(session, row.tenant_id, row.id)

    # One by one: nobody else is waited for.
    await go_round("the records of domain", domains, generate, at_once=1, seconds=_SECONDS)


async def verify_due(database: Database, nameservers: tuple[str, ...], now: dt.datetime) -> None:
    """Verify the records of each inbox that has any to verify at this moment."""
    async with database.system() as session:
        inboxes = (await session.execute(_INBOXES_DUE, {"now": now, "daily": _DAILY})).all()

    async def verify(row: Row[Any]) -> None:
        await verify_inbox(database, row.id, row.tenant_id, nameservers)

    await go_round("the records of inbox", inboxes, verify, at_once=_AT_ONCE, seconds=_SECONDS)
