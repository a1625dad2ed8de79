"""A few seeds on the real path. `penguin test faults` runs as many as one likes, and the mutants."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.blows import STRIKABLE
from tests.faults.checker import Verdict
from tests.faults.ground import Ground, standing_ground
from tests.faults.plan import draw
from tests.faults.run import run_plan

MESSAGES = 60


@pytest.fixture(scope="module")
async def ground() -> AsyncIterator[Ground]:
    async with standing_ground() as stands:
        yield stands


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_repeated_or_stuck_whatever_fails(ground: Ground, seed: int) -> None:
    outcome = await run_plan(ground, draw(seed, MESSAGES, STRIKABLE))
    assert (outcome.verdict.accepted, outcome.refused) == (MESSAGES, 0)
    assert outcome.verdict.holds, outcome.verdict
    assert outcome.verdict != Verdict()
