"""Fit our records into a zone that others write too: pure.

What others wrote stays. Where a record of ours would contradict one of theirs (a second SPF record, an
MX that takes mail away from where it goes today), theirs stays, ours is left out, and the conflict is reported: the
tenant decides.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from control_plane.dns.judge import Verdict, judge, slot
from control_plane.dns.plan import Conflict
from control_plane.dns.records import DnsRecord

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


def merge(existing: Mapping[RRsetKey, RRset], wanted: Collection[DnsRecord], written: Collection[DnsRecord]) -> Merged:
    """Return what the zone's RRsets should be, given what is there and which of it we wrote.

    All records are of one zone. RRsets that neither `wanted` nor `written` names are not touched.
    """
    rrsets: dict[RRsetKey, RRset | None] = {}
    ours: set[DnsRecord] = set()
    conflicts: list[Conflict] = []
    for key in sorted({(record.type, record.name) for record in (*wanted, *written)}):
        foreign = _foreign_values(existing.get(key), key, written)
        missing = {r for r in wanted if (r.type, r.name) == key and r.value not in foreign}
        obstacles = {record: _in_the_way(record, foreign, existing.get(("CNAME", key[1]))) for record in missing}
        fitting = {record for record in missing if not obstacles[record]}
        conflicts += [Conflict(record, found) for record, found in obstacles.items() if _matters(record, found)]
        ours |= fitting
        rrsets[key] = _joined(existing.get(key), foreign, fitting)
    return Merged(rrsets, frozenset(ours), tuple(sorted(conflicts, key=str)))


def _foreign_values(rrset: RRset | None, key: RRsetKey, written: Collection[DnsRecord]) -> frozenset[str]:
    own = {record.value for record in written if (record.type, record.name) == key}
    return (rrset.values if rrset else frozenset()) - own


def _in_the_way(record: DnsRecord, foreign: frozenset[str], cname: RRset | None) -> tuple[str, ...]:
    if cname and record.type != "CNAME":
        return tuple(f"CNAME {value}" for value in cname.values)
    kind = slot(record.type, record.value)
    return tuple(sorted(value for value in foreign if slot(record.type, value) == kind))


def _matters(record: DnsRecord, found: tuple[str, ...]) -> bool:
    """Return whether what is in the way does not do the record's work as well."""
    return bool(found) and judge(record, found).verdict is not Verdict.VERIFIED


def _joined(present: RRset | None, foreign: frozenset[str], own: Collection[DnsRecord]) -> RRset | None:
    values = foreign | {record.value for record in own}
    if not values:
        return None
    # An RRset has one TTL (RFC 2181, section 5.2): theirs, where they have a part in it.
    ttl = present.ttl if present and foreign else min(record.ttl for record in own)
    return RRset(values, ttl)
