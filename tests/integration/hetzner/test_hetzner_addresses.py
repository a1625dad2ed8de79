"""Reverse DNS, extra addresses and prices."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from control_plane.providers.base import ProviderBusy, ProviderError
from tests.fakes.hetzner.faults import Fault, Loss
from tests.integration.hetzner.ground import INSTANCE, NAME, ORDER, Ground, ground


@pytest.fixture
def here() -> Iterator[Ground]:
    with ground() as prepared:
        yield prepared


@pytest.fixture
def slow() -> Iterator[Ground]:
    with ground(action_seconds=10.0) as prepared:
        yield prepared


def pointings(here: Ground) -> list[str | None]:
    return [seen.body["dns_ptr"] for seen in here.fake.seen if seen.path.endswith("/change_dns_ptr")]


async def test_the_ptr_of_both_families_is_set_read_back_and_removed(here: Ground) -> None:
    made = await here.made()
    assert made.ipv6_address is not None
    for address in (made.ipv4_address, made.ipv6_address):
        assert await here.provider.reverse_dns(NAME, address) is None
        await here.provider.set_reverse_dns(NAME, address, ORDER.hostname)
        assert await here.provider.reverse_dns(NAME, address) == ORDER.hostname
        await here.provider.set_reverse_dns(NAME, address, None)
        assert await here.provider.reverse_dns(NAME, address) is None


async def test_an_address_may_be_written_in_any_way(here: Ground) -> None:
    made = await here.made()
    assert made.ipv6_address is not None
    written_out = made.ipv6_address.replace("::1", ":0:0:0:0:1")
    await here.provider.set_reverse_dns(NAME, written_out, ORDER.hostname)
    assert await here.provider.reverse_dns(NAME, made.ipv6_address) == ORDER.hostname


async def test_a_ptr_that_is_right_is_not_set_again(here: Ground) -> None:
    made = await here.made()
    for hostname in (ORDER.hostname, ORDER.hostname, None, None):
        await here.provider.set_reverse_dns(NAME, made.ipv4_address, hostname)
    assert pointings(here) == [ORDER.hostname, None]


async def test_a_ptr_counts_when_hetzner_shows_it(slow: Ground) -> None:
    made = await slow.made()
    with pytest.raises(ProviderBusy, match="setting the PTR"):
        await slow.provider.set_reverse_dns(NAME, made.ipv4_address, ORDER.hostname)
    assert await slow.provider.reverse_dns(NAME, made.ipv4_address) is None
    slow.clock.seconds += 10.0
    await slow.provider.set_reverse_dns(NAME, made.ipv4_address, ORDER.hostname)
    assert pointings(slow) == [ORDER.hostname]


async def test_a_ptr_that_hetzner_fails_to_set_is_told(here: Ground) -> None:
    made = await here.made()
    fault = Fault("POST", r"/servers/\d+/actions/change_dns_ptr", fail_action=("rdns_failed", "zone is frozen"))
    here.fake.script.add(fault)
    with pytest.raises(ProviderError, match="zone is frozen"):
        await here.provider.set_reverse_dns(NAME, made.ipv4_address, ORDER.hostname)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:ffff::1"])
async def test_only_the_servers_own_addresses_are_pointed(here: Ground, address: str) -> None:
    await here.made()
    with pytest.raises(ProviderError, match="not an address of"):
        await here.provider.set_reverse_dns(NAME, address, ORDER.hostname)
    assert pointings(here) == []


async def test_an_extra_address_is_got_once_and_given_back(here: Ground) -> None:
    await here.made()
    first = await here.provider.add_address(NAME, "pool-1")
    assert await here.provider.add_address(NAME, "pool-1") == first
    second = await here.provider.add_address(NAME, "pool-2")
    assert second.address != first.address
    (server,) = here.fake.project.servers
    assert {each["server"] for each in here.fake.project.floating_ips.values()} == {server}
    assert {each["labels"]["penguin/instance"] for each in here.fake.project.floating_ips.values()} == {INSTANCE}
    await here.provider.remove_address(NAME, "pool-1")
    await here.provider.remove_address(NAME, "pool-1")
    assert [each["ip"] for each in here.fake.project.floating_ips.values()] == [second.address]


async def test_an_extra_address_has_a_ptr_of_its_own(here: Ground) -> None:
    await here.made()
    got = await here.provider.add_address(NAME, "a1")
    for _ in range(2):
        await here.until_done(lambda: here.provider.set_reverse_dns(NAME, got.address, "mx1-a1.penguin.example"))
    (floating,) = here.fake.project.floating_ips.values()
    assert floating["dns_ptr"] == [{"ip": got.address, "dns_ptr": "mx1-a1.penguin.example"}]
    with pytest.raises(ProviderError, match="is not an address of"):
        await here.provider.set_reverse_dns(NAME, "192.0.2.200", "mx1-a1.penguin.example")


@pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.GATEWAY_TIMEOUT])
async def test_an_extra_address_whose_answer_was_lost_is_there_once(here: Ground, loss: Loss) -> None:
    await here.made()
    here.fake.script.add(Fault("POST", "/floating_ips", lose=loss))
    with pytest.raises(ProviderBusy):
        await here.provider.add_address(NAME, "pool-1")
    got = await here.provider.add_address(NAME, "pool-1")
    assert [each["ip"] for each in here.fake.project.floating_ips.values()] == [got.address]


async def test_extra_addresses_go_with_their_server(here: Ground) -> None:
    await here.made()
    await here.provider.add_address(NAME, "pool-1")
    await here.until_done(lambda: here.provider.delete(NAME))
    assert here.fake.project.floating_ips == {}


async def test_prices_are_net_and_gross_by_the_hour_and_the_month(here: Ground) -> None:
    prices = {(price.what, price.location): price for price in await here.provider.prices()}
    price = prices["cx23", "nbg1"]
    assert (price.currency, price.monthly_net) == ("EUR", Decimal("5.49"))
    assert price.monthly_gross == Decimal("5.49") * Decimal("1.19")
    assert price.hourly_net == pytest.approx(Decimal("5.49") / 672, abs=Decimal("1e-9"))
    assert prices["primary ipv4", "sin"].monthly_net == Decimal("0.5")
    assert ("cx23", "ash") not in prices
