"""Publish through a provider of octoDNS.

octoDNS takes a zone to be ours as a whole and would delete what it is not told of. Three locks are on that: the desired
zone is a copy of the present one with only our RRsets changed, a filter lets octoDNS see our names alone, and the plan
is inspected before it may be applied. Synchronous, since octoDNS is; `dns/publish.py` runs it in a thread.

Values: octoDNS holds TXT with `;` escaped and host names with a final dot; `DnsRecord.value` has neither.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from octodns.processor.filter import NameAllowlistFilter
from octodns.provider import ProviderException
from octodns.provider.base import BaseProvider
from octodns.record import Change, MxValue, Record, SrvValue
from octodns.record.exception import RecordException
from octodns.record.txt import TxtValue
from octodns.zone import DuplicateRecordException, Zone
from requests import HTTPError

from control_plane.dns.merge import RRset, RRsetKey, merge
from control_plane.dns.plan import (
    NONSENSE,
    Blend,
    PlannedChange,
    PublisherNeedsPerson,
    PublisherUnavailable,
    ZonePlan,
    refuse_foreign_loss,
)
from control_plane.dns.records import DnsRecord

_log = logging.getLogger(__name__)

_REFUSED = frozenset({401, 403})
_NONSENSE: tuple[type[Exception], ...] = (*NONSENSE, RecordException, DuplicateRecordException)


class OctoDnsPublisher:
    """One account at one DNS host; `new_zone_nameserver` becomes the NS of zones that are made, None makes none.

    What the host has been asked once is kept, so an object is for one publishing.
    """

    def __init__(self, provider: BaseProvider, new_zone_nameserver: str | None = None) -> None:
        self._provider = provider
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
        `PublisherUnavailable` and `PublisherNeedsPerson`.
        """
        with _told_apart(zone):
            return self._plan(zone, wanted, written, blended)

    def apply(self, plan: ZonePlan) -> None:
        """Make the changes; raise `PublisherUnavailable` when they are not known to be made."""
        if plan.instructions is None:
            return
        with _told_apart(plan.zone):
            self._provider.apply(plan.instructions)

    def _plan(
        self, zone: str, wanted: Collection[DnsRecord], written: Collection[DnsRecord], blended: Collection[Blend]
    ) -> ZonePlan:
        present = Zone(f"{zone}.", [])
        exists = self._provider.populate(present, target=True, lenient=True)
        merged = merge(_rrsets_of(present), wanted, written, blended)
        desired = _desired(present, merged.rrsets)
        names = {record.name for record in desired.records} | {_octodns_name(name) for _, name in merged.rrsets}
        if not exists and self._new_zone_nameserver is None:
            self._require_zone(present.name)
        elif not exists:
            nameserver = {"type": "NS", "ttl": 3600, "values": [f"{self._new_zone_nameserver}."]}
            desired.add_record(Record.new(desired, "", nameserver))
            names.add("")
        allow = NameAllowlistFilter("ours", sorted(names))
        plan = self._provider.plan(desired, processors=[allow])
        if plan:
            # A TTL or a flag of the host's own is no reason to write.
            plan.changes = [change for change in plan.changes if _values_of(change.existing) != _values_of(change.new)]
        changes = tuple(_planned(change) for change in plan.changes) if plan else ()
        refuse_foreign_loss(changes, written, merged.replacements)
        return ZonePlan(zone, changes, merged.conflicts, merged.ours, plan if changes else None, merged.blends)

    def _require_zone(self, name: str) -> None:
        # To some, a zone without any record looks like none.
        if name not in self._provider.list_zones():
            raise PublisherNeedsPerson(f"the DNS host has no zone {name.removesuffix('.')} in this account")


@contextmanager
def _told_apart(zone: str) -> Iterator[None]:
    """Turn what providers raise into what publishers do; their words may say why, and never hold a secret."""
    try:
        yield
    except HTTPError as error:
        if error.response is not None and error.response.status_code in _REFUSED:
            raise PublisherNeedsPerson(f"the DNS host of {zone} does not take the credentials") from error
        raise PublisherUnavailable(f"the DNS host does not answer for {zone}") from error
    except OSError as error:
        raise PublisherUnavailable(f"the DNS host does not answer for {zone}") from error
    except ProviderException as error:
        raise PublisherNeedsPerson(f"the DNS host of {zone} refuses: {error}") from error
    except _NONSENSE as error:
        _log.warning("what the DNS host of %s answers is not understood", zone, exc_info=True)
        raise PublisherUnavailable(f"what the DNS host of {zone} answers is not understood") from error


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
        case SrvValue():
            return f"{value.priority} {value.weight} {value.port} {value.target.removesuffix('.')}"
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
        case "SRV":
            priority, weight, port, target = value.split(" ")
            return {"priority": int(priority), "weight": int(weight), "port": int(port), "target": f"{target}."}
        case _:
            return value


def _octodns_name(name: str) -> str:
    return "" if name == "@" else name


def _type_of(record: Record) -> str:
    type_: str = record._type  # noqa: SLF001 - octoDNS gives a record's type no other name
    return type_
