"""A few cases of each provider, of all that `penguin test provisioning-faults` walks, and the mutants."""

from collections.abc import AsyncIterator, Iterator

import pytest

from control_plane.embedded.postgres import EmbeddedPostgres
from tests.integration.database import cluster_with_template
from tests.provisioning_faults.clouds import CLOUDS
from tests.provisioning_faults.life import Ground
from tests.provisioning_faults.matrix import all_cases, ground_of, walk
from tests.provisioning_faults.mutants import MUTANTS, caught
from tests.provisioning_faults.plan import Scenario, sample
from tests.provisioning_faults.process_life import ProcessCase
from tests.provisioning_faults.processes import CLOUDS_OF_PROCESSES, process_cases, walk_processes
from tests.provisioning_faults.touches import Blow
from tests.provisioning_faults.worker_process import Point

_SEED = 4
_CASES = 8
_WITH_PROCESSES = [
    ProcessCase(cloud, scenario, Point(where, blow))
    for cloud, scenario, where, blow in (
        ("hetzner", Scenario.PROVISION, "create_server: create", Blow.KILLED_AFTER),
        ("hostwinds", Scenario.PROVISION, "create_server: create", Blow.PAUSED_BEFORE),
        ("byo", Scenario.UNDO, "undo publish_dns: change the zone", Blow.KILLED_BEFORE),
        ("local", Scenario.DECOMMISSION, "delete_server: delete", Blow.PAUSED_AFTER),
        ("hetzner", Scenario.REBUILD, "rebuild: rebuild", Blow.KILLED_AFTER),
        ("local", Scenario.REBUILD, "pack_mail: have the server pack", Blow.PAUSED_AFTER),
    )
]


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


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_a_provider_or_dns_host_that_never_answers_is_left_and_not_asked_twice(
    ground: Ground, cloud: str
) -> None:
    acts = {"create_server: create", "publish_dns: change the zone"}
    every = await all_cases(ground, [cloud], [Scenario.PROVISION])
    hung = [case for case in every if case.blow is Blow.HUNG and case.where in acts]

    report = await walk(ground, hung, lambda _case, _verdict: None)

    assert {case.where for case in hung} == acts
    assert report.failures == []


async def test_what_worker_processes_leave_when_they_are_killed_or_stopped_is_done_once_by_another(
    cluster: EmbeddedPostgres, ground: Ground
) -> None:
    assert set(_WITH_PROCESSES) <= set(await process_cases(ground, CLOUDS_OF_PROCESSES))

    report = await walk_processes(cluster, _WITH_PROCESSES, lambda _case, _verdict: None)

    assert report.failures == []
    assert report.counts["servers_created"] == report.counts["servers_asked"] == len(_WITH_PROCESSES)


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_pipeline_that_is_broken_on_purpose_is_caught(ground: Ground, mutant: str) -> None:
    assert await caught(ground, mutant)
