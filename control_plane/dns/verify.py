"""Check an inbox's records at their zones' own servers, and keep what was found.

Load, ask, apply: no database session is held while the name servers are asked.

| `verification_status` | when |
| --- | --- |
| `pending` | not asked yet, or nobody answered |
| `verified` | the zone says what it should, in our words or in its owner's |
| `mismatch` | it does not, and never did |
| `drifted` | it does not any more; the inbox says so too, and goes on sending |
"""

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.judge import Judgement, Verdict, judge, mismatch, slot
from control_plane.dns.problems import Problem
from control_plane.dns.records import DnsRecord
from control_plane.dns.resolve import NoAnswer, values_of
from control_plane.dns.spf import is_spf
from control_plane.dns.spf_cost import spf_fault
from db.session import Database

#: How long a zone's servers may take to say what its DNS host was given; most take seconds.
PROPAGATION = dt.timedelta(minutes=10)

_RECORDS = text(
    "SELECT id, domain, record_type, record_name, record_value, ttl, published_at IS NOT NULL AS ours,"
    " now() - applied_at AS applied_ago, coalesce(last_good_at < applied_at, true) AS never_seen FROM dns_records"
    " WHERE tenant_id = :tenant AND inbox_id = :inbox ORDER BY domain, record_type, record_name"
)
_GOOD = text(
    "UPDATE dns_records SET verification_status = 'verified', verification_detail = NULL, problem = NULL,"
    " last_verified_at = now(), last_good_at = now() WHERE tenant_id = :tenant AND id = :id"
)
_BAD = text(
    "UPDATE dns_records SET verification_status = CASE WHEN last_good_at IS NULL THEN 'mismatch' ELSE 'drifted' END,"
    " verification_detail = :detail, problem = :problem, last_verified_at = now()"
    " WHERE tenant_id = :tenant AND id = :id"
)
# string_agg over nothing is NULL, and so is the reason then.
_NOTE_DRIFT = text(
    "UPDATE inboxes SET status_reason = d.reason, updated_at = now() FROM (SELECT 'DNS has drifted: '"
    "  || string_agg(record_type || ' ' || record_name || ' in ' || domain, ', ' ORDER BY record_type, record_name)"
    "  || '. GET dns-records/plan shows what repairing it would change.' AS reason FROM dns_records"
    "  WHERE tenant_id = :tenant AND inbox_id = :inbox AND verification_status = 'drifted') d"
    " WHERE tenant_id = :tenant AND id = :inbox AND status = 'ready' AND status_reason IS DISTINCT FROM d.reason"
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
    rows = await _load(database, inbox_id, tenant_id)
    results = await asyncio.gather(*(_check(row, nameservers, port) for row in rows))
    await _apply(database, inbox_id, tenant_id, results)
    return results


@dataclass(frozen=True, slots=True)
class _Row:
    """A record with what is known of its publishing."""

    id: uuid.UUID
    record: DnsRecord
    #: Our own hand wrote it, its zone's host took it that long ago, and the zone has not said it since.
    ignored_for: dt.timedelta | None


async def _load(database: Database, inbox_id: uuid.UUID, tenant_id: uuid.UUID) -> list[_Row]:
    async with database.tenant(tenant_id) as session:
        rows = await session.execute(_RECORDS, {"tenant": tenant_id, "inbox": inbox_id})
        return [
            _Row(
                r.id,
                DnsRecord(r.domain, r.record_type, r.record_name, r.record_value, r.ttl),
                r.applied_ago if r.ours and r.never_seen else None,
            )
            for r in rows
        ]


async def _check(row: _Row, nameservers: Sequence[str], port: int) -> VerifiedRecord:
    try:
        judgement = await _judge(row, nameservers, port)
    except NoAnswer as error:
        judgement = Judgement(Verdict.PENDING, str(error))
    return VerifiedRecord(row.id, row.record, judgement)


async def _judge(row: _Row, nameservers: Sequence[str], port: int) -> Judgement:
    record = row.record
    found = await values_of(record.fqdn, record.type, nameservers, port)
    judgement = judge(record, found)
    if judgement.problem and row.ignored_for is not None and row.ignored_for > PROPAGATION and not _foreign(row, found):
        minutes = row.ignored_for.total_seconds() / 60
        answer = f"the DNS host took it {minutes:.0f} minutes ago, and {judgement.detail}"
        return mismatch(Problem.ZONE_IGNORES_UPDATES, answer)
    if judgement.verdict is Verdict.VERIFIED and is_spf(record.value) and record.value not in found:
        theirs = next(value for value in found if is_spf(value))
        fault = await spf_fault(record.fqdn, theirs, partial(_ask, nameservers, port))
        return mismatch(*fault) if fault else judgement
    return judgement


def _foreign(row: _Row, found: Sequence[str]) -> bool:
    """Return whether others wrote something in our record's place, so that it is not its host that does nothing."""
    kind = slot(row.record.type, row.record.value)
    return any(slot(row.record.type, value) == kind for value in found)


async def _ask(nameservers: Sequence[str], port: int, name: str, record_type: str) -> tuple[str, ...]:
    return await values_of(name, record_type, nameservers, port)


async def _apply(
    database: Database, inbox_id: uuid.UUID, tenant_id: uuid.UUID, results: Sequence[VerifiedRecord]
) -> None:
    async with database.tenant(tenant_id) as session:
        await _record(session, tenant_id, results)
        if results:
            await session.execute(_PROMOTE, {"tenant": tenant_id, "inbox": inbox_id})
            await session.execute(_NOTE_DRIFT, {"tenant": tenant_id, "inbox": inbox_id})


async def _record(session: AsyncSession, tenant_id: uuid.UUID, results: Sequence[VerifiedRecord]) -> None:
    good = [r for r in results if r.judgement.verdict is Verdict.VERIFIED]
    bad = [r for r in results if r.judgement.verdict is Verdict.MISMATCH]
    if good:
        await session.execute(_GOOD, [{"tenant": tenant_id, "id": r.record_id} for r in good])
    if bad:
        rows = [
            {"tenant": tenant_id, "id": r.record_id, "detail": r.judgement.detail, "problem": r.judgement.problem}
            for r in bad
        ]
        await session.execute(_BAD, rows)
