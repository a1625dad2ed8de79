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


#: What the server is in the end.
ENDS = {
    Scenario.PROVISION: frozenset({"ready"}),
    Scenario.REMOVED: frozenset({"deleted"}),
    Scenario.DECOMMISSION: frozenset({"deleted"}),
    Scenario.UNDO: frozenset({"failed"}),
}
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
            if scenario is not Scenario.REMOVED or blow in PAUSES:
                yield Case(cloud, scenario, touch.number, blow, where=touch.what)
    if scenario is not Scenario.REMOVED:
        for number in range(wire_calls):
            yield Case(cloud, scenario, lost_on_wire=number, where=f"request {number}")


def sample(every: Iterable[CaseT], seed: int, size: int) -> list[CaseT]:
    """Return some of them, others for each seed."""
    known = list(every)
    return random.Random(seed).sample(known, min(size, len(known)))  # noqa: S311 - no secret
