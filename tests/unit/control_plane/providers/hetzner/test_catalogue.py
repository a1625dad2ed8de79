from decimal import Decimal

import pytest
from hcloud import Client
from hcloud.server_types import BoundServerType
from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.base import SIZES, ProviderError
from control_plane.providers.hetzner.catalogue import MOST_CHOICES, REGIONS, Offer, choices, read_offers
from tests.fakes.hetzner.catalogue import EU, Kind, server_type

GIB = 1024**3
LOCATIONS = sorted({place for places in REGIONS.values() for place in places})
offers = st.builds(
    Offer,
    type_name=st.text("abc", min_size=1, max_size=3),
    location=st.sampled_from(LOCATIONS),
    cores=st.integers(1, 16),
    memory_bytes=st.integers(1, 32).map(lambda gb: gb * GIB),
    disk_bytes=st.integers(10, 320).map(lambda gb: gb * GIB),
    monthly_net=st.decimals("0.5", "500", places=2),
)


def fits(offer: Offer, size: str) -> bool:
    least = SIZES[size]
    return (
        offer.cores >= least.cores and offer.memory_bytes >= least.memory_bytes and offer.disk_bytes >= least.disk_bytes
    )


@given(st.lists(offers, max_size=40), st.sampled_from(sorted(SIZES)), st.sampled_from(sorted(REGIONS)))
def test_choices_fit_and_no_cheaper_offer_that_fits_is_left_out(listed: list[Offer], size: str, region: str) -> None:
    chosen = choices(size, region, listed)
    fitting = [each for each in listed if each.location in REGIONS[region] and fits(each, size)]
    assert all(each in fitting for each in chosen)
    assert len(chosen) == min(len(fitting), MOST_CHOICES)
    assert [each.monthly_net for each in chosen] == sorted(each.monthly_net for each in fitting)[:MOST_CHOICES]


@given(st.lists(offers, max_size=40), st.sampled_from(sorted(SIZES)), st.sampled_from(sorted(REGIONS)))
def test_at_one_price_the_regions_first_location_comes_first(listed: list[Offer], size: str, region: str) -> None:
    keys = [(each.monthly_net, REGIONS[region].index(each.location)) for each in choices(size, region, listed)]
    assert keys == sorted(keys)


@given(st.permutations([Offer("a", "fsn1", 2, 4 * GIB, 40 * GIB, Decimal(n)) for n in range(1, 6)]))
def test_the_order_in_which_types_are_listed_decides_nothing(listed: list[Offer]) -> None:
    assert [each.monthly_net for each in choices("starter", "eu", listed)] == [Decimal(n) for n in range(1, 6)]


@given(st.lists(offers, max_size=40), st.sampled_from(sorted(REGIONS)))
def test_a_larger_size_never_becomes_a_cheaper_server(listed: list[Offer], region: str) -> None:
    cheapest = [found[0].monthly_net for size in SIZES if (found := choices(size, region, listed))]
    assert cheapest == sorted(cheapest)


def test_an_unknown_size_or_region_is_refused_with_those_there_are() -> None:
    with pytest.raises(ProviderError, match="starter, professional, business, enterprise"):
        choices("huge", "eu", [])
    with pytest.raises(ProviderError, match="eu, us, asia"):
        choices("starter", "moon", [])


def read(*kinds: Kind) -> list[tuple[str, str]]:
    client = Client("token").server_types
    types = [BoundServerType(client, server_type(number, kind)) for number, kind in enumerate(kinds, start=1)]
    return [(offer.type_name, offer.location) for offer in read_offers(types)]


def test_an_offer_is_for_x86_marked_available_and_not_on_its_way_out() -> None:
    assert read(
        Kind("arm", 2, 4.0, 40, "1.00", EU, architecture="arm"),
        Kind("sold", 2, 4.0, 40, "2.00", EU, unavailable=("fsn1", "hel1")),
        Kind("old", 2, 4.0, 40, "3.00", EU, deprecated=("fsn1", "nbg1")),
    ) == [("sold", "nbg1"), ("old", "hel1")]


def test_an_offer_has_its_price_and_size() -> None:
    client = Client("token").server_types
    (offer,) = read_offers([BoundServerType(client, server_type(1, Kind("a", 2, 3.5, 40, "5.4900", ("fsn1",))))])
    assert offer == Offer("a", "fsn1", 2, int(3.5 * GIB), 40 * GIB, Decimal("5.4900000000"))
