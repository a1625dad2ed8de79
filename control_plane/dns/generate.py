"""Turn a domain's inboxes, servers and DKIM keys into rows of `dns_records`.

Rows are what should be, and also the memory of what we wrote (`published_at`). So a row whose record is not wanted any
more stays until it has been taken out of its zone (`forget_withdrawn`), if we put it there.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.client_settings import has_settings
from control_plane.dns.extras import Extras, extra_records
from control_plane.dns.mta_sts import policy_of
from control_plane.dns.plan import Blend, ZonePlan
from control_plane.dns.records import DkimRecordKey, DnsRecord, records_for_inbox, records_without_server

# Inboxes whose server has an address; the others have no records yet.
_INBOXES = text(
    "SELECT i.id, i.tenant_id, d.name AS domain, v.hostname, host(v.ip_address) AS ipv4_address,"
    " host(v.ipv6_address) AS ipv6_address, v.ipv6_sending_since IS NOT NULL AS sends_over_ipv6, d.tls_reports_to,"
    " d.client_records, d.client_settings, d.mta_sts,"
    " CASE WHEN d.mta_sts <> 'none' OR d.client_settings THEN policy_hosts(d.id) ELSE '{}' END AS policy_hosts,"
    " (SELECT host(s.ip_address) FROM inboxes p JOIN vps_servers s ON s.id = p.vps_id"
    "  WHERE (d.mta_sts <> 'none' OR d.client_settings) AND p.id = policy_inbox(d.id)) AS policy_address,"
    # By which else the domain's inboxes may send.
    " ARRAY(SELECT sending_addresses(:domain)) AS further_addresses"
    " FROM inboxes i JOIN domains d ON d.id = i.domain_id JOIN vps_servers v ON v.id = i.vps_id"
    " WHERE i.domain_id = :domain AND i.status <> 'deleting' AND v.ip_address IS NOT NULL ORDER BY i.id"
)
_KEYS = text(
    "SELECT selector, public_key FROM dkim_keys WHERE domain_id = :domain AND state <> 'withdrawn' ORDER BY selector"
)
_INSERT = text(
    "INSERT INTO dns_records (tenant_id, inbox_id, domain, record_type, record_name, record_value, ttl)"
    " VALUES (:tenant, :inbox, :zone, :type, :name, :value, :ttl) ON CONFLICT DO NOTHING"
)
_ROWS = text(
    "SELECT r.id, r.inbox_id, r.domain, r.record_type, r.record_name, r.record_value, r.published_at,"
    " r.replaced_value, r.blended_value"
    " FROM dns_records r JOIN inboxes i ON i.id = r.inbox_id WHERE i.domain_id = :domain"
)
_DELETE = text("DELETE FROM dns_records WHERE id = ANY(:ids)")
_MARK_PUBLISHED = text(
    "UPDATE dns_records r SET published_at = now() FROM inboxes i WHERE i.id = r.inbox_id AND i.domain_id = :domain_id"
    " AND r.domain = :zone AND r.record_type = :type AND r.record_name = :name AND r.record_value = :value"
    " AND r.published_at IS NULL"
)
_MARK_BLENDED = text(
    "UPDATE dns_records r SET published_at = coalesce(published_at, now()), replaced_value = :before,"
    " blended_value = :after FROM inboxes i WHERE i.id = r.inbox_id AND i.domain_id = :domain_id"
    " AND r.domain = :zone AND r.record_type = :type AND r.record_name = :name AND r.record_value = :value"
)
_MARK_APPLIED = text(
    "UPDATE dns_records r SET applied_at = now() FROM inboxes i WHERE i.id = r.inbox_id AND i.domain_id = :domain_id"
    " AND r.domain = :zone AND r.published_at IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class ZoneShare:
    """Our part of a domain's zone: what should be there, what we wrote there before, and where we added to others'."""

    wanted: frozenset[DnsRecord]
    written: frozenset[DnsRecord]
    blended: frozenset[Blend]


async def wanted_records(session: AsyncSession, domain_id: uuid.UUID) -> Mapping[uuid.UUID, frozenset[DnsRecord]]:
    """Return the records that each inbox of the domain needs."""
    keys = [DkimRecordKey(*row) for row in await session.execute(_KEYS, {"domain": domain_id})]
    return await _wanted_with(session, domain_id, keys)


async def _wanted_with(
    session: AsyncSession, domain_id: uuid.UUID, keys: Sequence[DkimRecordKey]
) -> Mapping[uuid.UUID, frozenset[DnsRecord]]:
    inboxes = (await session.execute(_INBOXES, {"domain": domain_id})).all()
    # One of version 6 is named before anything is sent from it.
    addresses = [address for i in inboxes for address in (i.ipv4_address, i.ipv6_address) if address]
    addresses += inboxes[0].further_addresses if inboxes else []
    return {
        inbox.id: frozenset(
            records_for_inbox(
                inbox.domain,
                inbox.hostname,
                inbox.ipv4_address,
                addresses,
                keys,
                ipv6_address=inbox.ipv6_address if inbox.sends_over_ipv6 else None,
            )
            + extra_records(inbox.domain, inbox.hostname, _extras(inbox))
        )
        for inbox in inboxes
    }


async def records_of_domain(
    session: AsyncSession, domain_id: uuid.UUID, name: str, keys: Sequence[DkimRecordKey]
) -> Sequence[DnsRecord]:
    """Return what the domain's zone should have; before there is an inbox, what does not depend on its server.

    `keys` are those of the domain that are not withdrawn.
    """
    of_inboxes = (await _wanted_with(session, domain_id, keys)).values()
    found = {record for records in of_inboxes for record in records if record.zone == name}
    return sorted(found.union(records_without_server(name, keys)))


def _extras(inbox: Row[Any]) -> Extras:
    policy = policy_of(inbox.mta_sts, inbox.policy_hosts)
    told = has_settings(asked_for=inbox.client_settings, hosts=inbox.policy_hosts)
    return Extras(
        inbox.tls_reports_to,
        inbox.client_records,
        policy,
        inbox.policy_address,
        inbox.policy_address if told else None,
    )


async def generate_records(session: AsyncSession, tenant_id: uuid.UUID, domain_id: uuid.UUID) -> None:
    """Bring the rows of all the domain's inboxes up to date; one server more changes the SPF record of all."""
    wanted = await wanted_records(session, domain_id)
    rows = [
        {
            "tenant": tenant_id,
            "inbox": inbox_id,
            "zone": record.zone,
            "type": record.type,
            "name": record.name,
            "value": record.value,
            "ttl": record.ttl,
        }
        for inbox_id, records in wanted.items()
        for record in sorted(records)
    ]
    if rows:
        await session.execute(_INSERT, rows)
    await _delete_unwanted(session, domain_id, wanted, even_published=False)


async def zone_share(session: AsyncSession, domain_id: uuid.UUID, zone: str) -> ZoneShare:
    """Return our part of one zone, over all the domain's inboxes."""
    wanted = await wanted_records(session, domain_id)
    rows = await session.execute(_ROWS, {"domain": domain_id})
    published = [row for row in rows if row.published_at and row.domain == zone]
    blended = {Blend(_record(r), r.replaced_value, r.blended_value) for r in published if r.blended_value is not None}
    return ZoneShare(
        frozenset(record for records in wanted.values() for record in records if record.zone == zone),
        frozenset(_record(row) for row in published if row.blended_value is None),
        frozenset(blended),
    )


async def mark_published(session: AsyncSession, domain_id: uuid.UUID, plan: ZonePlan) -> None:
    """Record that the plan's records stand in their zone, or are about to, because we write them."""
    rows = [_parameters(domain_id, record) for record in sorted(plan.ours)]
    if rows:
        await session.execute(_MARK_PUBLISHED, rows)
    blends = [{**_parameters(domain_id, b.record), "before": b.before, "after": b.after} for b in plan.blends]
    if blends:
        await session.execute(_MARK_BLENDED, blends)


async def mark_applied(session: AsyncSession, domain_id: uuid.UUID, zone: str) -> None:
    """Record that the zone's host has taken our part of it."""
    await session.execute(_MARK_APPLIED, {"domain_id": domain_id, "zone": zone})


def _record(row: Row[Any]) -> DnsRecord:
    return DnsRecord(row.domain, row.record_type, row.record_name, row.record_value)


def _parameters(domain_id: uuid.UUID, record: DnsRecord) -> dict[str, object]:
    return {
        "domain_id": domain_id,
        "zone": record.zone,
        "type": record.type,
        "name": record.name,
        "value": record.value,
    }


async def forget_withdrawn(session: AsyncSession, domain_id: uuid.UUID) -> None:
    """Delete the rows of records that are not wanted any more, once they are out of their zone."""
    await _delete_unwanted(session, domain_id, await wanted_records(session, domain_id), even_published=True)


async def _delete_unwanted(
    session: AsyncSession,
    domain_id: uuid.UUID,
    wanted: Mapping[uuid.UUID, frozenset[DnsRecord]],
    *,
    even_published: bool,
) -> None:
    keys = {
        (inbox_id, record.zone, record.type, record.name, record.value)
        for inbox_id, records in wanted.items()
        for record in records
    }
    rows = await session.execute(_ROWS, {"domain": domain_id})
    unwanted = [
        row.id
        for row in rows
        if (row.inbox_id, row.domain, row.record_type, row.record_name, row.record_value) not in keys
        and (even_published or row.published_at is None)
    ]
    await session.execute(_DELETE, {"ids": unwanted})
