"""Another address for a server in place of one that was refused."""

from collections.abc import Iterator

import pytest

from control_plane.providers.base import NoCapacity, PowerState, ProviderServer
from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.hetzner.ground import NAME, Ground, ground


@pytest.fixture
def here() -> Iterator[Ground]:
    with ground(action_seconds=4.0) as prepared:
        yield prepared


def addresses(here: Ground) -> dict[str, str]:
    return {each["name"]: each["ip"] for each in here.fake.project.primary_ips.values()}


async def replaced(here: Ground, *refused: str) -> ProviderServer:
    return await here.until_done(lambda: here.provider.replace_address(NAME, refused), attempts=40)


async def test_a_server_gets_another_address_and_runs_again(here: Ground) -> None:
    before = await here.made()
    after = await replaced(here, before.ipv4_address)
    assert after.ipv4_address != before.ipv4_address
    assert (after.provider_id, after.ipv6_address, after.power) == (
        before.provider_id,
        before.ipv6_address,
        PowerState.RUNNING,
    )
    assert addresses(here) == {
        f"{NAME}-ipv4": after.ipv4_address,
        f"{NAME}-ipv6": addresses(here)[f"{NAME}-ipv6"],
    }
    assert (await here.provider.find(NAME)) == after


async def test_the_old_address_is_given_back_after_the_new_one_was_got(here: Ground) -> None:
    before = await here.made()
    await replaced(here, before.ipv4_address)
    deeds = [
        seen for seen in here.fake.seen if seen.path.startswith("/primary_ips") and seen.method in {"POST", "DELETE"}
    ]
    assert [seen.method for seen in deeds if "actions" not in seen.path][-2:] == ["POST", "DELETE"]


async def test_a_server_whose_address_is_not_refused_is_left_alone(here: Ground) -> None:
    before = await here.made()
    seen = len(here.fake.seen)
    assert await replaced(here, "192.0.2.250") == before
    assert {each.method for each in here.fake.seen[seen:]} == {"GET"}


async def test_what_was_refused_before_is_held_until_another_was_got(here: Ground) -> None:
    before = await here.made()
    first = await replaced(here, before.ipv4_address)
    # Nobody knows what Hetzner gives next, but its fake counts on.
    number = int(first.ipv4_address.rpartition(".")[2])
    near = [f"{first.ipv4_address.rpartition('.')[0]}.{number + ahead}" for ahead in range(1, 12)]
    after = await replaced(here, before.ipv4_address, first.ipv4_address, *near[:7])
    assert after.ipv4_address not in {before.ipv4_address, first.ipv4_address, *near[:7]}
    assert len(addresses(here)) == 2


async def test_when_only_refused_addresses_are_given_it_says_so_and_keeps_none(here: Ground) -> None:
    before = await here.made()
    everything = [f"{before.ipv4_address.rpartition('.')[0]}.{last}" for last in range(256)]
    with pytest.raises(NoCapacity, match="refused before"):
        await here.provider.replace_address(NAME, everything)
    assert set(addresses(here)) == {f"{NAME}-ipv4", f"{NAME}-ipv6"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/primary_ips"),
        ("POST", r"/servers/\d+/actions/poweroff"),
        ("POST", r"/primary_ips/\d+/actions/unassign"),
        ("DELETE", r"/primary_ips/\d+"),
        ("PUT", r"/primary_ips/\d+"),
        ("POST", r"/primary_ips/\d+/actions/assign"),
        ("POST", r"/servers/\d+/actions/poweron"),
    ],
)
async def test_an_answer_that_is_lost_leaves_one_address_and_a_running_server(
    here: Ground, method: str, path: str
) -> None:
    before = await here.made()
    here.fake.script.add(Fault(method, path, lose=Loss.CLOSED))
    after = await replaced(here, before.ipv4_address)
    assert after.power is PowerState.RUNNING
    assert addresses(here)[f"{NAME}-ipv4"] == after.ipv4_address != before.ipv4_address
    assert len(addresses(here)) == 2


async def test_a_server_that_goes_meanwhile_takes_all_addresses_along(here: Ground) -> None:
    before = await here.made()
    with pytest.raises(Exception, match="switching"):
        await here.provider.replace_address(NAME, [before.ipv4_address])
    assert len(addresses(here)) == 3
    here.clock.seconds += 10.0
    await here.until_done(lambda: here.provider.delete(NAME))
    assert addresses(here) == {}
