"""Publish to PowerDNS through octoDNS.

octoDNS takes a zone to be ours as a whole and would delete what it is not told of. Three locks are on that: the desired
zone is a copy of the present one with only our RRsets changed, a filter lets octoDNS see our names alone, and the plan
is inspected before it may be applied. Synchronous, since octoDNS is; `dns/publish.py` runs it in a thread.

Values: octoDNS holds TXT with `;` escaped and host names with a final dot; `DnsRecord.value` has neither.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from octodns.processor.filter import NameAllowlistFilter
from octodns.record import Change, MxValue, Record
from octodns.record.txt import TxtValue
from octodns.zone import Zone
from octodns_powerdns import PowerDnsProvider

from control_plane.dns.merge import RRset, RRsetKey, merge
from control_plane.dns.plan import Blend, PlannedChange, PublisherUnavailable, ZonePlan, refuse_foreign_loss
from control_plane.dns.records import DnsRecord

_TIMEOUT_SECONDS = 10


class PowerDnsPublisher:
    """One PowerDNS server's HTTP API; `new_zone_nameserver` becomes the NS of zones that are made here."""

    def __init__(self, url: str, api_key: str, new_zone_nameserver: str) -> None:
        parts = urlsplit(url)
        self._provider = PowerDnsProvider(
            "powerdns",
            host=parts.hostname,
            port=parts.port or 8081,
            scheme=parts.scheme,
            api_key=api_key,
            timeout=_TIMEOUT_SECONDS,
            mode_of_operation="native",
            enable_dynamic=False,
            root_ns_warnings=False,
        )
        # Never through a proxy that our environment may name: the API is on our own network.
        self._provider._sess.trust_env = False  # noqa: SLF001 - octoDNS gives no other way
        self._new_zone_nameserver = new_zone_nameserver

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        """Return what would change; raise `PlanRefused` when that takes away what we did not write.

        `wanted` is all that should be in the zone by us, `written` what we wrote there before. Raises
        `PublisherUnavailable`.
        """
        try:
            return self._plan(zone, wanted, written, blended)
        except OSError as error:
            raise PublisherUnavailable(f"the DNS host does not answer for {zone}") from error

    def apply(self, plan: ZonePlan) -> None:
        """Make the changes; raise `PublisherUnavailable` when they are not known to be made."""
        if plan.instructions is None:
            return
        try:
            self._provider.apply(plan.instructions)
        except OSError as error:
            raise PublisherUnavailable(f"the DNS host did not take the changes of {plan.zone}") from error

    def _plan(
        self, zone: str, wanted: Collection[DnsRecord], written: Collection[DnsRecord], blended: Collection[Blend]
    ) -> ZonePlan:
        present = Zone(f"{zone}.", [])
        exists = self._provider.populate(present, target=True, lenient=True)
        merged = merge(_rrsets_of(present), wanted, written, blended)
        desired = _desired(present, merged.rrsets)
        names = {record.name for record in desired.records} | {_octodns_name(name) for _, name in merged.rrsets}
        if not exists:
            nameserver = {"type": "NS", "ttl": 3600, "values": [f"{self._new_zone_nameserver}."]}
            desired.add_record(Record.new(desired, "", nameserver))
            names.add("")
        allow = NameAllowlistFilter("ours", sorted(names))
        plan = self._provider.plan(desired, processors=[allow])
        changes = tuple(_planned(change) for change in plan.changes) if plan else ()
        refuse_foreign_loss(changes, written, merged.replacements)
        return ZonePlan(zone, changes, merged.conflicts, merged.ours, plan, merged.blends)


def _desired(present: Zone, rrsets: Mapping[RRsetKey, RRset | None]) -> Zone:
    """Copy what is present at our names, with our RRsets as they should be."""
    desired = Zone(present.name, [])
    names = {_octodns_name(name) for _, name in rrsets}
    ours = {(type_, _octodns_name(name)) for type_, name in rrsets}
    for record in present.records:
        if record.name in names and (_type_of(record), record.name) not in ours:
            desired.add_record(record, lenient=True)
    for (type_, name), rrset in rrsets.items():
        if rrset is not None:
            desired.add_record(_to_octodns(desired, type_, name, rrset), lenient=True)
    return desired


def _rrsets_of(zone: Zone) -> dict[RRsetKey, RRset]:
    return {(_type_of(r), r.name or "@"): RRset(_values_of(r), r.ttl) for r in zone.records}


def _planned(change: Change) -> PlannedChange:
    record = change.record
    return PlannedChange(_type_of(record), record.name or "@", _values_of(change.existing), _values_of(change.new))


def _values_of(record: Record | None) -> frozenset[str]:
    if record is None:
        return frozenset()
    values = record.values if hasattr(record, "values") else [record.value]
    return frozenset(_from_octodns(value) for value in values)


def _from_octodns(value: object) -> str:
    match value:
        case TxtValue():
            return str(value.to_raw_text())
        case MxValue():
            return f"{value.preference} {value.exchange.removesuffix('.')}"
        case _:
            return str(value).removesuffix(".")


def _to_octodns(zone: Zone, type_: str, name: str, rrset: RRset) -> Record:
    data = {"type": type_, "ttl": rrset.ttl, "values": [_octodns_value(type_, v) for v in sorted(rrset.values)]}
    return Record.new(zone, _octodns_name(name), data, lenient=True)


def _octodns_value(type_: str, value: str) -> object:
    match type_:
        case "TXT":
            return value.replace(";", "\\;")
        case "MX":
            preference, exchange = value.split(" ")
            return {"preference": int(preference), "exchange": f"{exchange}."}
        case _:
            return value


def _octodns_name(name: str) -> str:
    return "" if name == "@" else name


def _type_of(record: Record) -> str:
    type_: str = record._type  # noqa: SLF001 - octoDNS gives a record's type no other name
    return type_
