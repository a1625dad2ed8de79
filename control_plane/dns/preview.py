"""What publishing would change in a zone, made from what the zone's servers answer: nothing of its DNS host is needed.

So it can be shown to anybody who may see the records, and for zones that their owner writes by hand.
"""

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from control_plane.dns.generate import ZoneShare, zone_share
from control_plane.dns.merge import RRset, RRsetKey, merge
from control_plane.dns.plan import PlannedChange, ZonePlan, refuse_foreign_loss
from control_plane.dns.publish import plan_what_fits
from control_plane.dns.records import RECORD_TTL, DnsRecord
from control_plane.dns.resolve import ask, values_of
from db.session import Database


async def preview(
    database: Database, tenant_id: uuid.UUID, domain_id: uuid.UUID, zone: str, nameservers: Sequence[str]
) -> ZonePlan:
    """Return the plan for a domain's zone; raise `NoAnswer` when its servers do not say what is there.

    No database session is held while they are asked.
    """
    async with database.tenant(tenant_id) as session:
        share = await zone_share(session, domain_id, zone)
    existing = await _existing(zone, share, nameservers)
    plan = partial(_plan, zone, existing, share)
    return await plan_what_fits(plan, share.wanted, partial(ask, nameservers))


async def _existing(zone: str, share: ZoneShare, nameservers: Sequence[str]) -> Mapping[RRsetKey, RRset]:
    """Ask for the RRsets at our names; their TTLs in caches say nothing, so ours stands for them."""
    records = {*share.wanted, *share.written, *(blend.record for blend in share.blended)}
    keys = sorted({(r.type, r.name) for r in records} | {("CNAME", r.name) for r in records})
    names = [DnsRecord(zone, type_, name, "").fqdn for type_, name in keys]
    answers = await asyncio.gather(
        *(values_of(name, type_, nameservers) for name, (type_, _) in zip(names, keys, strict=True))
    )
    found = dict(zip(keys, answers, strict=True))
    aliases = {name for (type_, name), values in found.items() if type_ == "CNAME" and values}
    return {
        key: RRset(frozenset(values), RECORD_TTL)
        for key, values in found.items()
        if values and (key[0] == "CNAME" or key[1] not in aliases)
    }


async def _plan(
    zone: str, existing: Mapping[RRsetKey, RRset], share: ZoneShare, wanted: Collection[DnsRecord]
) -> ZonePlan:
    merged = merge(existing, wanted, share.written, share.blended)
    changes = tuple(
        PlannedChange(type_, name, _values(existing.get((type_, name))), _values(rrset))
        for (type_, name), rrset in merged.rrsets.items()
        if _values(existing.get((type_, name))) != _values(rrset)
    )
    refuse_foreign_loss(changes, share.written, merged.replacements)
    return ZonePlan(zone, changes, merged.conflicts, merged.ours, None, merged.blends)


def _values(rrset: RRset | None) -> frozenset[str]:
    return rrset.values if rrset else frozenset()
