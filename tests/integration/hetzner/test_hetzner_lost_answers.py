"""Answers that do not come after the deed was done: whatever is repeated, there is one server and one of each."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from control_plane.providers.base import ProviderBusy
from control_plane.providers.hetzner.client import Operation
from control_plane.providers.hetzner.servers import create
from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.hetzner.ground import NAME, ORDER, Ground, adapter, gather_results, ground

#: Each request that changes something while a server is made, and what is left over when it was repeated blindly.
CHANGES = ["/firewalls", "/primary_ips", "/servers"]


@pytest.fixture
def here() -> Iterator[Ground]:
    with ground() as prepared:
        yield prepared


@pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.GATEWAY_TIMEOUT, Loss.GARBLED])
@pytest.mark.parametrize("path", CHANGES)
async def test_a_create_whose_answer_was_lost_makes_one_of_each(here: Ground, path: str, loss: Loss) -> None:
    here.fake.script.add(Fault("POST", path, lose=loss))
    with pytest.raises(ProviderBusy):
        await here.provider.create(ORDER)
    assert len(here.fake.requests("POST", path)) == 1
    made = await here.made()
    project = here.fake.project
    assert [server["name"] for server in project.servers.values()] == [made.name]
    assert (len(project.primary_ips), len(project.firewalls)) == (2, 1)
    assert (project.costs.servers_created, project.costs.double_charges) == (1, 0)


async def test_an_answer_that_never_comes_ends_by_time_out(here: Ground) -> None:
    here.fake.script.add(Fault("POST", "/servers", lose=Loss.SILENCE))
    impatient = adapter(here.fake, timeout=(0.3, 0.3))
    with pytest.raises(ProviderBusy, match="may have been done"):
        await impatient.create(ORDER)
    assert len(here.fake.requests("POST", "/servers")) == 1
    await here.made()
    assert here.fake.project.costs.servers_created == 1


async def test_the_library_repeats_nothing_by_itself(here: Ground) -> None:
    for code in ("timeout", "conflict", "rate_limit_exceeded", "bad_gateway"):
        here.fake.script.add(Fault("POST", "/servers", refuse=code))
        before = len(here.fake.requests("POST", "/servers"))
        with pytest.raises(ProviderBusy):
            await here.provider.create(ORDER)
        assert len(here.fake.requests("POST", "/servers")) == before + 1


async def test_two_workers_that_create_at_once_make_one_server(here: Ground) -> None:
    other = adapter(here.fake)
    results = await gather_results(*(each.create(ORDER) for each in (here.provider, other) for _ in range(2)))
    assert not [each for each in results if isinstance(each, BaseException) and not isinstance(each, ProviderBusy)]
    await here.made()
    project = here.fake.project
    assert (project.costs.servers_created, project.costs.double_charges) == (1, 0)
    assert (len(project.primary_ips), len(project.firewalls)) == (2, 1)


@pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.GATEWAY_TIMEOUT, Loss.GARBLED])
@pytest.mark.parametrize("path", [r"/servers/\d+", r"/primary_ips/\d+"])
async def test_a_delete_whose_answer_was_lost_leaves_nothing(here: Ground, path: str, loss: Loss) -> None:
    await here.made()
    here.fake.script.add(Fault("DELETE", path, lose=loss))
    with pytest.raises(ProviderBusy):
        await here.provider.delete(NAME)
    await here.until_done(lambda: here.provider.delete(NAME))
    assert (here.fake.project.servers, here.fake.project.primary_ips) == ({}, {})


@pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.GATEWAY_TIMEOUT, Loss.GARBLED])
async def test_a_ptr_whose_answer_was_lost_is_set_once(here: Ground, loss: Loss) -> None:
    made = await here.made()
    here.fake.script.add(Fault("POST", r"/servers/\d+/actions/change_dns_ptr", lose=loss))
    with pytest.raises(ProviderBusy):
        await here.provider.set_reverse_dns(NAME, made.ipv4_address, ORDER.hostname)
    await here.provider.set_reverse_dns(NAME, made.ipv4_address, ORDER.hostname)
    assert sum(seen.path.endswith("change_dns_ptr") for seen in here.fake.seen) == 1
    assert await here.provider.reverse_dns(NAME, made.ipv4_address) == ORDER.hostname


async def test_a_worker_that_was_paused_for_too_long_asks_for_nothing_more(here: Ground) -> None:
    late = adapter(here.fake, budget=0.0)
    with pytest.raises(ProviderBusy, match="took too long"):
        await late.create(ORDER)
    assert here.fake.seen == []


async def test_a_worker_that_wakes_after_the_server_was_removed_makes_no_orphan(here: Ground) -> None:
    """It had its addresses and was about to ask for the server when it was paused, and its deadline did not help."""
    paused, go_on = threading.Event(), threading.Event()

    class PausedBeforeTheServer(Operation):
        def begin_request(self) -> None:
            super().begin_request()
            if len(here.fake.project.primary_ips) == 2 and not paused.is_set():
                paused.set()
                go_on.wait(timeout=20)

    operation = PausedBeforeTheServer(here.provider._account)
    zombie = asyncio.create_task(asyncio.to_thread(create, operation, ORDER))
    await asyncio.to_thread(paused.wait, 20)
    await here.provider.delete(NAME)
    go_on.set()
    (result,) = await gather_results(zombie)
    operation.close()
    assert isinstance(result, Exception)
    assert here.fake.project.costs.servers_created == 0
    await here.provider.delete(NAME)
    assert here.fake.project.primary_ips == {}


async def test_a_call_that_is_cancelled_begins_no_more_requests(here: Ground) -> None:
    silence = Fault("GET", "/server_types", lose=Loss.SILENCE)
    here.fake.script.add(silence)
    patient = adapter(here.fake, timeout=(5.0, 5.0))
    call = asyncio.create_task(patient.create(ORDER))
    await asyncio.to_thread(silence.reached.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    here.fake.script.release()
    await asyncio.to_thread(patient._threads.shutdown)
    assert here.fake.requests("POST", "/primary_ips") == []
    assert here.fake.project.costs.posts == 0
