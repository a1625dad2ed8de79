"""Fit our records into a zone that others write too: pure.

What others wrote stays. Into an SPF record of theirs our servers are put, since there may be only one; what was there
before is remembered (`Blend`), so that it can be put back. Where another record of ours would contradict one of theirs
(an MX that takes mail away from where it goes today), or their SPF record is broken, theirs stays, ours is left out,
and the conflict is reported: the tenant decides.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from control_plane.dns.judge import ALIAS, Verdict, judge, slot, spf_problem
from control_plane.dns.plan import Blend, Conflict, Replacement
from control_plane.dns.problems import Problem
from control_plane.dns.records import DnsRecord
from control_plane.dns.spf import SpfBroken, addresses_of, is_spf, parse_spf, with_addresses, without_added

#: Type and name relative to the zone.
RRsetKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RRset:
    """All values of one type at one name; `ttl` is in seconds."""

    values: frozenset[str]
    ttl: int


@dataclass(frozen=True, slots=True)
class Merged:
    """What the touched RRsets should be (None: gone), what is ours in them, and what could not be fitted in."""

    rrsets: Mapping[RRsetKey, RRset | None]
    ours: frozenset[DnsRecord]
    conflicts: tuple[Conflict, ...]
    blends: tuple[Blend, ...] = ()
    replacements: tuple[Replacement, ...] = ()


def merge(
    existing: Mapping[RRsetKey, RRset],
    wanted: Collection[DnsRecord],
    written: Collection[DnsRecord],
    blended: Collection[Blend] = (),
) -> Merged:
    """Return what the zone's RRsets should be, given what is there, which of it we wrote and where we added to it.

    All records are of one zone. RRsets that neither `wanted`, `written` nor `blended` names are not touched.
    """
    rrsets: dict[RRsetKey, RRset | None] = {}
    ours: set[DnsRecord] = set()
    conflicts: list[Conflict] = []
    blends: list[Blend] = []
    replacements: list[Replacement] = []
    for key in sorted({(r.type, r.name) for r in (*wanted, *written, *(blend.record for blend in blended))}):
        mine = {record for record in wanted if (record.type, record.name) == key}
        present = _foreign_values(existing.get(key), key, written)
        foreign, blend = _blend(present, mine, [b for b in blended if (b.record.type, b.record.name) == key])
        if blend is not None:
            blends.append(blend)
            mine = {record for record in mine if record != blend.record}
        replacements += _replacement(key, present, foreign)
        missing = {record for record in mine if record.value not in foreign}
        obstacles = {record: _in_the_way(record, foreign, existing.get(("CNAME", key[1]))) for record in missing}
        fitting = {record for record in missing if not obstacles[record]}
        conflicts += [_conflict(record, found) for record, found in obstacles.items() if _matters(record, found)]
        ours |= fitting
        rrsets[key] = _joined(existing.get(key), foreign, fitting)
    return Merged(
        rrsets, frozenset(ours), tuple(sorted(conflicts, key=str)), tuple(blends), tuple(sorted(replacements))
    )


def _foreign_values(rrset: RRset | None, key: RRsetKey, written: Collection[DnsRecord]) -> frozenset[str]:
    own = {record.value for record in written if (record.type, record.name) == key}
    return (rrset.values if rrset else frozenset()) - own


def _blend(
    foreign: frozenset[str], wanted: Collection[DnsRecord], before: Collection[Blend]
) -> tuple[frozenset[str], Blend | None]:
    """Return the others' values with our servers in their one SPF record, or out of it again."""
    records = [value for value in foreign if is_spf(value)]
    if len(records) != 1:
        return foreign, None
    own = _restored(records[0], before)
    added = next((added for added in (_added(record, own) for record in wanted) if added), None)
    value = added.after if added else own
    return (foreign - {records[0]}) | {value}, added


def _restored(present: str, before: Collection[Blend]) -> str:
    """Return a record as its owner means it: without what we put in."""
    for blend in before:
        if present == blend.after:
            return blend.before
    try:
        for blend in before:
            spf = without_added(parse_spf(present), parse_spf(blend.before), parse_spf(blend.after))
            present = str(spf) if spf != parse_spf(present) else present
    except SpfBroken:
        # Somebody broke it since; it is theirs as it stands.
        return present
    return present


def _added(record: DnsRecord, own: str) -> Blend | None:
    if not is_spf(record.value) or spf_problem(record.value, own) is not Problem.SPF_WITHOUT_OUR_SERVERS:
        return None
    addresses = addresses_of(record.value)
    after = str(with_addresses(parse_spf(own), addresses))
    return Blend(record, own, after) if addresses else None


def _replacement(key: RRsetKey, present: frozenset[str], wanted: frozenset[str]) -> list[Replacement]:
    return [Replacement(*key, found, put) for found in present - wanted for put in wanted - present]


def _in_the_way(record: DnsRecord, foreign: frozenset[str], cname: RRset | None) -> tuple[str, ...]:
    if cname and record.type != "CNAME":
        return tuple(f"{ALIAS}{value}" for value in cname.values)
    kind = slot(record.type, record.value)
    return tuple(sorted(value for value in foreign if slot(record.type, value) == kind))


def _matters(record: DnsRecord, found: tuple[str, ...]) -> bool:
    """Return whether what is in the way does not do the record's work as well."""
    return bool(found) and judge(record, found).verdict is not Verdict.VERIFIED


def _conflict(record: DnsRecord, found: tuple[str, ...]) -> Conflict:
    return Conflict(record, found, judge(record, found).problem)


def _joined(present: RRset | None, foreign: frozenset[str], own: Collection[DnsRecord]) -> RRset | None:
    values = foreign | {record.value for record in own}
    if not values:
        return None
    # An RRset has one TTL (RFC 2181, section 5.2): theirs, where they have a part in it.
    ttl = present.ttl if present and foreign else min(record.ttl for record in own)
    return RRset(values, ttl)
