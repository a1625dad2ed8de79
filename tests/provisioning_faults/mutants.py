"""Pipelines that are broken on purpose: the matrix must catch each, or it proves nothing."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from unittest.mock import patch

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines import claims, worker
from control_plane.pipelines.worker import Worker
from control_plane.providers.base import ProviderServer, ServerOrder
from tests.provisioning_faults.clouds import Charging
from tests.provisioning_faults.life import Ground
from tests.provisioning_faults.matrix import all_cases, walk
from tests.provisioning_faults.plan import Case, Scenario
from tests.provisioning_faults.touches import Blow


def _never_looks() -> AbstractContextManager[object]:
    """A server is not looked for until its row has its address."""
    looked = Charging.find

    async def find(self: Charging, name: str) -> ProviderServer | None:
        return await looked(self, name) if self.pointers else None

    return patch.object(Charging, "find", find)


def _records_without_fence() -> AbstractContextManager[object]:
    """Whoever is done records it, whoever has the claim."""
    return patch.object(
        claims, "_HOLD", text("SELECT 1 WHERE :run = :run AND :position = :position OR :token = :token")
    )


def _acts_without_fence() -> AbstractContextManager[object]:
    """A worker that comes back goes on where it stood."""

    async def renew(_self: Worker, _claim: claims.Claim) -> None:
        """Let everybody pass."""

    return patch.object(Worker, "_renew", renew)


def _orders_late() -> AbstractContextManager[object]:
    """A worker that was let pass orders whenever it goes on."""

    def refuse_late(_self: ServerOrder) -> None:
        """Let everybody order."""

    return patch.object(ServerOrder, "refuse_late", refuse_late)


def _rebuilds_again() -> AbstractContextManager[object]:
    """A disk is overwritten whenever that is asked for."""

    async def rebuild(
        self: Charging, _name: str, _user_data: str, generation: int, _begin_before: float | None = None
    ) -> None:
        self.built.append(generation)

    return patch.object(Charging, "rebuild", rebuild)


def _tells_servers_late() -> AbstractContextManager[object]:
    """A worker that comes back has the server do what it was about to ask for."""

    async def hold(_session: AsyncSession, claim: claims.Claim) -> None:
        """Let everybody pass."""

    return patch.object(worker, "hold", hold)


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is broken, and where in which part of a life which blows show it."""

    broken: Callable[[], AbstractContextManager[object]]
    scenario: Scenario
    step: str
    blows: frozenset[Blow]


_PAUSED = frozenset({Blow.PAUSED_BEFORE})
_DONE_TWICE = frozenset({Blow.KILLED_AFTER, Blow.LOST})
MUTANTS: Mapping[str, Mutant] = {
    "creates without looking": Mutant(_never_looks, Scenario.PROVISION, "create_server", _DONE_TWICE),
    "records without a claim": Mutant(_records_without_fence, Scenario.REMOVED, "create_server", _PAUSED),
    "acts without a claim": Mutant(
        _acts_without_fence, Scenario.REMOVED, "create_server", _PAUSED | {Blow.PAUSED_AFTER}
    ),
    "orders long after it was let pass": Mutant(_orders_late, Scenario.REMOVED, "create_server", _PAUSED),
    "rebuilds what was rebuilt": Mutant(_rebuilds_again, Scenario.REBUILD, "rebuild", _DONE_TWICE),
    "tells a server without a claim": Mutant(_tells_servers_late, Scenario.REBUILD, "pack_mail", _PAUSED),
}


async def caught(ground: Ground, name: str) -> bool:
    """Whether the matrix fails with the mutant, on cases that hold without it."""
    mutant = MUTANTS[name]
    aimed = [
        case
        for case in await all_cases(ground, ["charging"], [mutant.scenario])
        if case.blow in mutant.blows and case.where.startswith(f"{mutant.step}:")
    ]
    spared = await walk(ground, aimed, _say_nothing)
    with mutant.broken():
        struck = await walk(ground, aimed, _say_nothing)
    return spared.holds and bool(struck.failures)


def _say_nothing(_case: Case, _verdict: object) -> None:
    """Let what a mutant breaks be broken in silence."""
