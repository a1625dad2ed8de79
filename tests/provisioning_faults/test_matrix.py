"""A few cases of each provider, of all that `penguin test provisioning-faults` walks, and the mutants."""

from collections.abc import AsyncIterator, Iterator

import pytest

from control_plane.embedded.postgres import EmbeddedPostgres
from tests.integration.database import cluster_with_template
from tests.provisioning_faults.clouds import CLOUDS
from tests.provisioning_faults.life import Ground
from tests.provisioning_faults.matrix import all_cases, ground_of, walk
from tests.provisioning_faults.mutants import MUTANTS, caught
from tests.provisioning_faults.plan import sample

_SEED = 4
_CASES = 8


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedPostgres]:
    with cluster_with_template() as running:
        yield running


@pytest.fixture
async def ground(cluster: EmbeddedPostgres) -> AsyncIterator[Ground]:
    async with ground_of(cluster) as standing:
        yield standing


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_whatever_happens_there_is_one_server_for_each_request_and_nothing_is_left(
    ground: Ground, cloud: str
) -> None:
    drawn = sample(await all_cases(ground, [cloud]), _SEED, _CASES)

    report = await walk(ground, drawn, lambda _case, _verdict: None)

    assert report.failures == []
    assert report.counts["valid"] == report.counts["runs"] == _CASES
    assert report.counts["servers_created"] == report.counts["servers_asked"]
    assert (report.counts["orphans"], report.counts["double_charges"]) == (0, 0)


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_pipeline_that_is_broken_on_purpose_is_caught(ground: Ground, mutant: str) -> None:
    assert await caught(ground, mutant)
