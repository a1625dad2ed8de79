"""A DNS host in memory, for one case."""

from collections.abc import Collection
from dataclasses import dataclass, field

from control_plane.dns.plan import Blend, PlannedChange, ZonePlan
from control_plane.dns.records import DnsRecord


@dataclass
class MemoryZone:
    """Implements `dns.publish.Publisher`."""

    records: set[DnsRecord] = field(default_factory=set)

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],
        written: Collection[DnsRecord],
        blended: Collection[Blend] = (),
    ) -> ZonePlan:
        add = set(wanted) - self.records
        remove = (set(written) - set(wanted)) & self.records
        changes = tuple(_change(record, made=True) for record in sorted(add)) + tuple(
            _change(record, made=False) for record in sorted(remove)
        )
        return ZonePlan(zone, changes, (), frozenset(wanted), (add, remove))

    def apply(self, plan: ZonePlan) -> None:
        match plan.instructions:
            case (set() as add, set() as remove):
                self.records = (self.records | add) - remove


def _change(record: DnsRecord, *, made: bool) -> PlannedChange:
    value = frozenset({record.value})
    return PlannedChange(record.type, record.name, frozenset() if made else value, value if made else frozenset())
