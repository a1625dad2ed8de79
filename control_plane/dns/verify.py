"""Check an inbox's records at their zones' own servers, and keep what was found.

Load, ask, apply: no database session is held while the name servers are asked.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from control_plane.dns.judge import Judgement, Verdict, judge
from control_plane.dns.records import DnsRecord
from control_plane.dns.resolve import NoAnswer, values_of
from db.session import Database

_RECORDS = text(
    "SELECT id, domain, record_type, record_name, record_value, ttl FROM dns_records"
    " WHERE tenant_id = :tenant AND inbox_id = :inbox ORDER BY domain, record_type, record_name"
)
_APPLY = text(
    "UPDATE dns_records SET verification_status = :verdict, verification_detail = :detail, last_verified_at = now()"
    " WHERE tenant_id = :tenant AND id = :id"
)
# An inbox that waits for its records alone is ready once each is verified and its server is ready.
_PROMOTE = text(
    "UPDATE inboxes SET status = 'ready', status_reason = NULL, updated_at = now()"
    " WHERE tenant_id = :tenant AND id = :inbox AND status = 'pending_dns'"
    " AND NOT EXISTS (SELECT FROM dns_records WHERE inbox_id = :inbox AND verification_status <> 'verified')"
    " AND EXISTS (SELECT FROM vps_servers v WHERE v.id = inboxes.vps_id AND v.status = 'ready')"
)


@dataclass(frozen=True, slots=True)
class VerifiedRecord:
    """One record of an inbox and what its zone's server said about it."""

    record_id: uuid.UUID
    record: DnsRecord
    judgement: Judgement


async def verify_inbox(
    database: Database, inbox_id: uuid.UUID, tenant_id: uuid.UUID, nameservers: Sequence[str], port: int = 53
) -> list[VerifiedRecord]:
    """Check each record of the inbox and return what was found.

    Verdicts are kept in `dns_records`; a record whose server did not answer keeps the one it had. When all are
    verified, an inbox that waited for them becomes ready.
    """
    records = await _load(database, inbox_id, tenant_id)
    results = await asyncio.gather(*(_check(id_, record, nameservers, port) for id_, record in records))
    await _apply(database, inbox_id, tenant_id, results)
    return results


async def _load(database: Database, inbox_id: uuid.UUID, tenant_id: uuid.UUID) -> list[tuple[uuid.UUID, DnsRecord]]:
    async with database.tenant(tenant_id) as session:
        rows = await session.execute(_RECORDS, {"tenant": tenant_id, "inbox": inbox_id})
        return [(r.id, DnsRecord(r.domain, r.record_type, r.record_name, r.record_value, r.ttl)) for r in rows]


async def _check(record_id: uuid.UUID, record: DnsRecord, nameservers: Sequence[str], port: int) -> VerifiedRecord:
    try:
        judgement = judge(record, await values_of(record.fqdn, record.type, nameservers, port))
    except NoAnswer as error:
        judgement = Judgement(Verdict.PENDING, str(error))
    return VerifiedRecord(record_id, record, judgement)


async def _apply(
    database: Database, inbox_id: uuid.UUID, tenant_id: uuid.UUID, results: Sequence[VerifiedRecord]
) -> None:
    verdicts = [
        {
            "tenant": tenant_id,
            "id": result.record_id,
            "verdict": result.judgement.verdict.value,
            "detail": result.judgement.detail,
        }
        for result in results
        if result.judgement.verdict is not Verdict.PENDING
    ]
    async with database.tenant(tenant_id) as session:
        if verdicts:
            await session.execute(_APPLY, verdicts)
        if results:
            await session.execute(_PROMOTE, {"tenant": tenant_id, "inbox": inbox_id})
