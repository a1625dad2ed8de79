"""Which of Hetzner's types a size becomes, and where: pure, from what the API lists at the moment.

Types, prices and what is to be had change from month to month, so none is named here. Of all types for x86 that have
the cores, memory and disk, that are not on their way out and are marked available at a location of the region, the
cheapest comes first; at the same price the region's first location.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hcloud.server_types import ServerType

from control_plane.providers.base import SIZES, ProviderError

#: Locations by region, in the order in which they are tried; each location is a region of its own, too.
REGIONS: dict[str, tuple[str, ...]] = {
    "eu": ("fsn1", "nbg1", "hel1"),
    "us": ("ash", "hil"),
    "asia": ("sin",),
    **{location: (location,) for location in ("fsn1", "nbg1", "hel1", "ash", "hil", "sin")},
}
#: Choices that one attempt goes through at most: what is left when the cheap ones are sold out costs many times more.
MOST_CHOICES = 8
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Offer:
    """One type at one location; the price is net."""

    type_name: str
    location: str
    cores: int
    memory_bytes: int
    disk_bytes: int
    monthly_net: Decimal


def locations_of(region: str) -> tuple[str, ...]:
    """Return a region's locations; raise `ProviderError` when there is no such region."""
    if region not in REGIONS:
        raise ProviderError(f"unknown region {region!r}; known: {', '.join(REGIONS)}")
    return REGIONS[region]


def choices(size: str, region: str, offers: Iterable[Offer]) -> Sequence[Offer]:
    """Return what to try, in order; raise `ProviderError` for an unknown size or region."""
    if size not in SIZES:
        raise ProviderError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    least, locations = SIZES[size], locations_of(region)
    fitting = [
        offer
        for offer in offers
        if offer.location in locations
        and offer.cores >= least.cores
        and offer.memory_bytes >= least.memory_bytes
        and offer.disk_bytes >= least.disk_bytes
    ]
    fitting.sort(key=lambda offer: (offer.monthly_net, locations.index(offer.location), offer.type_name))
    return fitting[:MOST_CHOICES]


def read_offers(types: Iterable[ServerType]) -> list[Offer]:
    """Return what is to be had now: for x86, marked available, and with a price."""
    return [
        Offer(
            type_name=str(kind.name),
            location=location,
            cores=int(kind.cores or 0),
            memory_bytes=int((kind.memory or 0) * _GIB),
            disk_bytes=int(kind.disk or 0) * _GIB,
            monthly_net=price,
        )
        for kind in types
        if kind.architecture == "x86"
        for location in _available(kind)
        if (price := monthly_price(kind, location)) is not None
    ]


def _available(kind: ServerType) -> list[str]:
    return [str(place.location.name) for place in kind.locations or () if place.available and place.deprecation is None]


def monthly_price(kind: ServerType, location: str) -> Decimal | None:
    """Return the net price of a month, or None where the type is not sold."""
    for price in kind.prices or ():
        if price["location"] == location:
            return Decimal(price["price_monthly"]["net"])
    return None
