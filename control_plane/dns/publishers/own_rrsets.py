"""For DNS hosts that are asked for our own RRsets alone: which they are, and what becomes of them."""

from collections.abc import Collection, Mapping

import dns.rdata

from control_plane.dns.merge import RRset, RRsetKey, merge
from control_plane.dns.plan import Blend, PlannedChange, ZonePlan, refuse_foreign_loss
from control_plane.dns.records import DnsRecord

_STRING_OCTETS = 255


def keys_to_ask(
    wanted: Collection[DnsRecord], written: Collection[DnsRecord], blended: Collection[Blend]
) -> list[RRsetKey]:
    """Return the RRsets that matter: ours, and an alias at any of their names."""
    records = (*wanted, *written, *(blend.record for blend in blended))
    return sorted({(r.type, r.name) for r in records} | {("CNAME", r.name) for r in records})


def plan_of_own(
    zone: str,
    found: Mapping[RRsetKey, RRset | None],
    wanted: Collection[DnsRecord],
    written: Collection[DnsRecord],
    blended: Collection[Blend],
) -> ZonePlan:
    """Return the plan; its instructions are each changed RRset before and after. Raises `PlanRefused`."""
    existing = {key: rrset for key, rrset in found.items() if rrset is not None}
    merged = merge(existing, wanted, written, blended)
    touched = {k: (existing.get(k), new) for k, new in merged.rrsets.items() if _values(found[k]) != _values(new)}
    changes = tuple(PlannedChange(*key, _values(old), _values(new)) for key, (old, new) in touched.items())
    refuse_foreign_loss(changes, written, merged.replacements)
    return ZonePlan(zone, changes, merged.conflicts, merged.ours, touched or None, merged.blends)


def rdatas(type_: str, rrset: RRset) -> list[dns.rdata.Rdata]:
    """Return an RRset's values as dnspython has them."""
    return [dns.rdata.from_text("IN", type_, in_a_zone_file(type_, value)) for value in sorted(rrset.values)]


def in_a_zone_file(type_: str, value: str) -> str:
    """Return a value of `DnsRecord` as a zone file has it (RFC 1035, section 5.1)."""
    match type_:
        case "TXT":
            octets = value.encode()
            strings = [octets[at : at + _STRING_OCTETS] for at in range(0, len(octets), _STRING_OCTETS)] or [b""]
            return " ".join(f'"{_escaped(string)}"' for string in strings)
        case "MX" | "CNAME" | "PTR" | "SRV":
            return f"{value}."
        case _:
            return value


def _escaped(string: bytes) -> str:
    return "".join(chr(o) if 0x20 <= o < 0x7F and o not in b'"\\' else f"\\{o:03d}" for o in string)


def _values(rrset: RRset | None) -> frozenset[str]:
    return rrset.values if rrset else frozenset()
