"""What publishing would change in a zone, as a value to look at before it is done."""

from collections.abc import Collection
from dataclasses import dataclass, field

from control_plane.dns.problems import REMEDIES, Problem
from control_plane.dns.records import DnsRecord


class PlanRefused(Exception):
    """The plan would take away a record that we did not write; nothing was changed."""


class PublisherUnavailable(Exception):
    """The DNS host did not answer, or refused; nothing is known to be changed."""


#: What the libraries of DNS hosts raise over an answer they did not expect; a host of a tenant's may answer anything.
NONSENSE: tuple[type[Exception], ...] = (LookupError, TypeError, ValueError, AttributeError)


class PublisherNeedsPerson(Exception):
    """The DNS host refuses us or does not have the zone, and will until a person changes that."""


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
    problem: Problem | None = None

    def __str__(self) -> str:
        return f"{self.record.fqdn} has {'; '.join(self.found)}, where {self.record.type} {self.record.value} is needed"

    @property
    def remedy(self) -> str:
        """How to go on, for a person."""
        return REMEDIES[self.problem] if self.problem else ""


@dataclass(frozen=True, slots=True)
class Blend:
    """A record of ours that stands inside one of others: theirs before and after."""

    record: DnsRecord
    before: str
    after: str


@dataclass(frozen=True, slots=True, order=True)
class Replacement:
    """A value of others that is meant to give way to another, which holds all that theirs does."""

    type: str
    name: str
    found: str
    put: str


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
    #: Our records that will stand inside others' once it is applied.
    blends: tuple[Blend, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"zone {self.zone}", *map(str, self.changes), *(f"! {c}" for c in self.conflicts)])


def refuse_foreign_loss(
    changes: Collection[PlannedChange], written: Collection[DnsRecord], replacements: Collection[Replacement] = ()
) -> None:
    """Raise `PlanRefused` when a change takes away a value that we did not write, and puts nothing in its place."""
    own = {(record.type, record.name, record.value) for record in written}
    for change in changes:
        mended = {
            (r.type, r.name, r.found)
            for r in replacements
            if (r.type, r.name) == (change.type, change.name) and r.put in change.after
        }
        lost = [
            value for value in change.before - change.after if (change.type, change.name, value) not in own | mended
        ]
        if lost:
            raise PlanRefused(f"{change.type} {change.name} would lose {'; '.join(sorted(lost))}")
