"""What publishing would change in a zone, as a value to look at before it is done."""

from collections.abc import Collection
from dataclasses import dataclass, field

from control_plane.dns.records import DnsRecord


class PlanRefused(Exception):
    """The plan would take away a record that we did not write; nothing was changed."""


class PublisherUnavailable(Exception):
    """The DNS host did not answer, or refused; nothing is known to be changed."""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One RRset before and after."""

    type: str
    name: str
    before: frozenset[str]
    after: frozenset[str]

    def __str__(self) -> str:
        gone = [f"- {self.name} {self.type} {value}" for value in sorted(self.before - self.after)]
        new = [f"+ {self.name} {self.type} {value}" for value in sorted(self.after - self.before)]
        return "\n".join([*gone, *new])


@dataclass(frozen=True, slots=True)
class Conflict:
    """A record of ours that was left out, and what stands in its way."""

    record: DnsRecord
    found: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.record.fqdn} has {'; '.join(self.found)}, where {self.record.type} {self.record.value} is needed"


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """What publishing would change in one zone; `str()` shows it."""

    zone: str
    changes: tuple[PlannedChange, ...]
    conflicts: tuple[Conflict, ...]
    #: Our records that will be there once it is applied.
    ours: frozenset[DnsRecord]
    #: The same in the publisher's own terms; None when there is nothing to do.
    instructions: object = field(repr=False)

    def __str__(self) -> str:
        return "\n".join([f"zone {self.zone}", *map(str, self.changes), *(f"! {c}" for c in self.conflicts)])


def refuse_foreign_loss(changes: Collection[PlannedChange], written: Collection[DnsRecord]) -> None:
    """Raise `PlanRefused` when a change takes away a value that we did not write."""
    own = {(record.type, record.name, record.value) for record in written}
    for change in changes:
        lost = [value for value in change.before - change.after if (change.type, change.name, value) not in own]
        if lost:
            raise PlanRefused(f"{change.type} {change.name} would lose {'; '.join(sorted(lost))}")
