"""A server's life in parts, with one thing going wrong at each of the requests of a part in turn."""

from collections.abc import Awaitable, Callable

import pytest

from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.hetzner.ground import NAME, Ground, ground

Part = Callable[[Ground, int], Awaitable[None]]
ANY = ".*"
REFUSALS = ("conflict", "server_error", "unauthorized", "rate_limit_exceeded", "locked", "maintenance")
LOSSES = (Loss.GATEWAY_TIMEOUT, Loss.GARBLED)


def closed(number: int) -> Fault:
    """Lose that request's answer."""
    return Fault(ANY, ANY, lose=Loss.CLOSED, skip=number)


def something_else(number: int) -> Fault:
    """Do one of the other things to that request, another to the next."""
    kind = number % (len(REFUSALS) + len(LOSSES))
    if kind < len(REFUSALS):
        return Fault(ANY, ANY, refuse=REFUSALS[kind], skip=number)
    return Fault(ANY, ANY, lose=LOSSES[kind - len(REFUSALS)], skip=number)


async def is_made_and_removed(here: Ground, number: int) -> None:
    await here.made()
    assert here.fake.project.costs.servers_created == number + 1
    await here.until_done(lambda: here.provider.delete(NAME))
    project = here.fake.project
    assert (project.servers, project.primary_ips, len(project.firewalls)) == ({}, {}, 1)


async def is_named(here: Ground, number: int) -> None:
    (address,) = [each["ip"] for each in here.fake.project.primary_ips.values() if each["type"] == "ipv4"]
    hostname = f"mx-{number}.penguin.example"
    await here.until_done(lambda: here.provider.set_reverse_dns(NAME, address, hostname))
    assert await here.until_done(lambda: here.provider.reverse_dns(NAME, address)) == hostname


async def has_an_extra_address_for_a_while(here: Ground, _: int) -> None:
    await here.until_done(lambda: here.provider.add_address(NAME, "pool"))
    assert len(here.fake.project.floating_ips) == 1
    await here.until_done(lambda: here.provider.remove_address(NAME, "pool"))
    assert here.fake.project.floating_ips == {}


async def is_rebuilt(here: Ground, number: int) -> None:
    user_data = f"#cloud-config\n# {number}\n"
    await here.until_done(lambda: here.provider.rebuild(NAME, user_data, number + 1))
    (server,) = here.fake.project.servers.values()
    assert (server["status"], server["_user_data"]) == ("running", user_data)


async def is_switched_off_and_on(here: Ground, _: int) -> None:
    (server,) = here.fake.project.servers.values()
    await here.until_done(lambda: here.provider.power_off(NAME))
    assert server["status"] == "off"
    await here.until_done(lambda: here.provider.power_on(NAME))


@pytest.mark.parametrize("blow", [closed, something_else])
@pytest.mark.parametrize(
    ("part", "at_least"),
    [
        (is_made_and_removed, 15),
        (is_named, 3),
        (has_an_extra_address_for_a_while, 6),
        (is_rebuilt, 4),
        (is_switched_off_and_on, 5),
    ],
)
async def test_it_comes_to_the_same_whichever_request_something_happens_to(
    part: Part, at_least: int, blow: Callable[[int], Fault]
) -> None:
    with ground(action_seconds=5.0) as here:
        if part is not is_made_and_removed:
            await here.made()
        number = 0
        while True:
            fault = blow(number)
            here.fake.script.add(fault)
            await part(here, number)
            if not fault.reached.is_set():
                break
            number += 1
        # Each of its requests has had its turn.
        assert number >= at_least
