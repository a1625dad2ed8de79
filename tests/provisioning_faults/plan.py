"""What is walked through: the cases, found by walking each life once without a blow and noting what can be struck."""

import enum
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.provisioning_faults.touches import Blow, Touch

CaseT = TypeVar("CaseT")


class Scenario(enum.StrEnum):
    """Which part of a server's life is struck."""

    #: Being made; it is ready in the end.
    PROVISION = "provision"
    #: Being made, and it is removed before the worker that was struck comes back.
    REMOVED = "removed"
    #: Its removal.
    DECOMMISSION = "decommission"
    #: Being made and taken back, since its configuration is refused.
    UNDO = "undo"
    #: Its rebuild, with its mail.
    REBUILD = "rebuild"
    #: A rebuild that is called off at the last look at the old system; what takes it back is struck.
    CALLED_OFF = "called_off"


#: What the server is in the end.
ENDS = {
    Scenario.PROVISION: frozenset({"ready"}),
    Scenario.REMOVED: frozenset({"deleted"}),
    Scenario.DECOMMISSION: frozenset({"deleted"}),
    Scenario.UNDO: frozenset({"failed"}),
    Scenario.REBUILD: frozenset({"ready"}),
    Scenario.CALLED_OFF: frozenset({"ready"}),
}
#: Of a server that is there.
LATER = frozenset({Scenario.DECOMMISSION, Scenario.REBUILD, Scenario.CALLED_OFF})
REBUILDS = frozenset({Scenario.REBUILD, Scenario.CALLED_OFF})
PAUSES = (Blow.PAUSED_BEFORE, Blow.PAUSED_AFTER)


@dataclass(frozen=True, slots=True)
class Case:
    """One life with one blow; its name is how to walk through it again (`--case`)."""

    cloud: str
    scenario: Scenario
    at: int = -1
    blow: Blow | None = None
    lost_on_wire: int = -1
    where: str = ""

    @property
    def name(self) -> str:
        """Name it in one word."""
        blow = f"{self.at}:{self.blow.name.lower()}" if self.blow else f"{self.lost_on_wire}:wire"
        return f"{self.cloud}/{self.scenario}/{blow}"

    @property
    def ends(self) -> frozenset[str]:
        """What the server may be in the end: one that is refused while being made is taken back."""
        also = {"failed"} if self.blow is Blow.REFUSED and self.scenario is Scenario.PROVISION else set()
        return ENDS[self.scenario] | also

    @property
    def rebuild_ends(self) -> frozenset[str]:
        """What the run of its rebuild may be in the end."""
        if self.scenario is Scenario.CALLED_OFF:
            return frozenset({"undone"})
        return frozenset({"done", "undone"} if self.blow is Blow.REFUSED else {"done"})

    @property
    def refuses(self) -> str | None:
        """The step of keeping mail that its server refuses."""
        return "check" if self.scenario is Scenario.CALLED_OFF else None


def parse_case(name: str) -> Case:
    """Read a case's name; raise `ValueError` for no case."""
    cloud, scenario, blow = name.split("/")
    number, _, kind = blow.partition(":")
    if kind == "wire":
        return Case(cloud, Scenario(scenario), lost_on_wire=int(number))
    return Case(cloud, Scenario(scenario), int(number), Blow[kind.upper()])


def cases(cloud: str, scenario: Scenario, touches: Sequence[Touch], wire_calls: int) -> Iterator[Case]:
    """Yield each touch with each of its blows, and each request whose answer can be lost."""
    for touch in touches:
        for blow in touch.blows:
            if _is_struck(scenario, touch, blow):
                yield Case(cloud, scenario, touch.number, blow, where=touch.what)
    if scenario not in {Scenario.REMOVED, Scenario.CALLED_OFF}:
        for number in range(wire_calls):
            yield Case(cloud, scenario, lost_on_wire=number, where=f"request {number}")


def _is_struck(scenario: Scenario, touch: Touch, blow: Blow) -> bool:
    match scenario:
        case Scenario.REMOVED:
            return blow in PAUSES
        case Scenario.CALLED_OFF:
            return touch.what.startswith("undo ")
    return True


def sample(every: Iterable[CaseT], seed: int, size: int) -> list[CaseT]:
    """Return some of them, others for each seed."""
    known = list(every)
    return random.Random(seed).sample(known, min(size, len(known)))  # noqa: S311 - no secret
