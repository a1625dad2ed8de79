"""Pipelines that are broken on purpose: the matrix must catch each, or it proves nothing."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from unittest.mock import patch

from sqlalchemy import text

from control_plane.pipelines import claims
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


#: Each with the blows and the part of a life that show it.
MUTANTS: Mapping[str, tuple[Callable[[], AbstractContextManager[object]], Scenario, frozenset[Blow]]] = {
    "creates without looking": (_never_looks, Scenario.PROVISION, frozenset({Blow.KILLED_AFTER, Blow.LOST})),
    "records without a claim": (_records_without_fence, Scenario.REMOVED, frozenset({Blow.PAUSED_BEFORE})),
    "acts without a claim": (_acts_without_fence, Scenario.REMOVED, frozenset({Blow.PAUSED_BEFORE, Blow.PAUSED_AFTER})),
    "orders long after it was let pass": (_orders_late, Scenario.REMOVED, frozenset({Blow.PAUSED_BEFORE})),
}


async def caught(ground: Ground, name: str) -> bool:
    """Whether the matrix fails with the mutant, on cases that hold without it."""
    mutant, scenario, blows = MUTANTS[name]
    aimed = [
        case
        for case in await all_cases(ground, ["charging"])
        if case.scenario is scenario and case.blow in blows and case.where.startswith("create_server")
    ]
    spared = await walk(ground, aimed, _say_nothing)
    with mutant():
        struck = await walk(ground, aimed, _say_nothing)
    return spared.holds and bool(struck.failures)


def _say_nothing(_case: Case, _verdict: object) -> None:
    """Let what a mutant breaks be broken in silence."""
