"""What the fake sells: locations, types and prices in the shape of the published API, with a catalogue of our own."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

VAT = Decimal("1.19")
HOURS = Decimal(672)
_PLACES = (
    ("fsn1", "DE", "Falkenstein", "eu-central"),
    ("nbg1", "DE", "Nuremberg", "eu-central"),
    ("hel1", "FI", "Helsinki", "eu-central"),
    ("ash", "US", "Ashburn, VA", "us-east"),
    ("hil", "US", "Hillsboro, OR", "us-west"),
    ("sin", "SG", "Singapore", "ap-southeast"),
)
LOCATIONS: list[dict[str, Any]] = [
    {
        "id": number,
        "name": name,
        "description": f"{city} DC Park 1",
        "country": country,
        "city": city,
        "latitude": 50.0,
        "longitude": 12.0,
        "network_zone": zone,
    }
    for number, (name, country, city, zone) in enumerate(_PLACES, start=1)
]
EU, US, ASIA = ("fsn1", "nbg1", "hel1"), ("ash", "hil"), ("sin",)
DEPRECATED = {"announced": "2026-06-01T00:00:00Z", "unavailable_after": "2026-12-01T00:00:00Z"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: where it is sold for how much, where it is to be had, and where it is on its way out."""

    name: str
    cores: int
    memory_gb: float
    disk_gb: int
    monthly_net: str
    locations: Sequence[str]
    architecture: str = "x86"
    unavailable: Sequence[str] = ()
    deprecated: Sequence[str] = ()


KINDS: tuple[Kind, ...] = (
    Kind("cx23", 2, 4.0, 40, "5.4900", EU),
    Kind("cx33", 4, 8.0, 80, "8.4900", EU),
    Kind("cx43", 8, 16.0, 160, "15.9900", EU),
    Kind("cax11", 2, 4.0, 40, "3.7900", EU, architecture="arm"),
    Kind("cpx11", 2, 2.0, 40, "4.9900", (*EU, *US), deprecated=(*EU, *US)),
    Kind("cpx12", 1, 2.0, 40, "11.4900", (*EU, *US)),
    Kind("cpx22", 2, 4.0, 80, "19.4900", (*EU, *US, *ASIA)),
    Kind("cpx32", 4, 8.0, 160, "35.4900", (*EU, *US, *ASIA)),
    Kind("cpx42", 8, 16.0, 320, "69.4900", (*EU, *US, *ASIA)),
    Kind("ccx23", 4, 16.0, 160, "79.4900", (*EU, *US)),
)


def location(name: str) -> dict[str, Any]:
    """Return a location as the API shows it; raise `KeyError` when there is none."""
    return copy.deepcopy({place["name"]: place for place in LOCATIONS}[name])


def price(net: str) -> dict[str, str]:
    """Return net and gross as the API writes them."""
    amount = Decimal(net)
    return {"net": f"{amount:.10f}", "gross": f"{amount * VAT:.10f}"}


def prices(net: str, places: Sequence[str]) -> list[dict[str, Any]]:
    """Return one price for each place."""
    hourly = f"{Decimal(net) / HOURS:.10f}"
    return [{"location": place, "price_hourly": price(hourly), "price_monthly": price(net)} for place in places]


def server_type(number: int, kind: Kind) -> dict[str, Any]:
    """Return a type as the API shows it."""
    traffic = {"included_traffic": 20 * 1024**4, "price_per_tb_traffic": price("1.0000")}
    return {
        "id": number,
        "name": kind.name,
        "description": kind.name.upper(),
        "category": "Shared vCPU",
        "cores": kind.cores,
        "memory": kind.memory_gb,
        "disk": kind.disk_gb,
        "deprecated": bool(kind.deprecated),
        "deprecation": DEPRECATED if kind.deprecated else None,
        "prices": [{**entry, **traffic} for entry in prices(kind.monthly_net, kind.locations)],
        "storage_type": "local",
        "cpu_type": "shared",
        "architecture": kind.architecture,
        "locations": [_sold(kind, place) for place in kind.locations],
    }


def _sold(kind: Kind, place: str) -> dict[str, Any]:
    known = location(place)
    return {
        "id": known["id"],
        "name": place,
        "available": place not in kind.unavailable,
        "recommended": place not in kind.unavailable,
        "deprecation": DEPRECATED if place in kind.deprecated else None,
    }


def pricing(kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return the pricing call's answer."""
    every = [place["name"] for place in LOCATIONS]
    floating = [{"location": place, "price_monthly": price("3.0000")} for place in every]
    return {
        "pricing": {
            "currency": "EUR",
            "vat_rate": "19.0000000000",
            "primary_ips": [
                {"type": "ipv4", "prices": prices("0.5000", every)},
                {"type": "ipv6", "prices": prices("0.0000", every)},
            ],
            "floating_ip": {"price_monthly": price("3.0000")},
            "floating_ips": [{"type": kind, "prices": floating} for kind in ("ipv4", "ipv6")],
            "image": {"price_per_gb_month": price("0.0110")},
            "volume": {"price_per_gb_month": price("0.0440")},
            "server_backup": {"percentage": "20.0000000000"},
            "traffic": {"price_per_tb": price("1.0000")},
            "server_types": [
                {"id": number, "name": kind.name, "prices": server_type(number, kind)["prices"]}
                for number, kind in enumerate(kinds, start=1)
            ],
            "load_balancer_types": [],
        }
    }
