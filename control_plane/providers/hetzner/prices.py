"""Prices as Hetzner's pricing call gives them: what a project pays, in its currency, net and gross."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from control_plane.providers.base import Price
from control_plane.providers.hetzner.client import Operation


def prices(operation: Operation) -> list[Price]:
    """Return what servers and primary IPs cost, by name and location."""
    pricing: dict[str, Any] = operation.client.request("GET", "/pricing")["pricing"]
    named = [(str(kind["name"]), kind["prices"]) for kind in pricing["server_types"]]
    named += [(f"primary {kind['type']}", kind["prices"]) for kind in pricing["primary_ips"]]
    found = [price for what, places in named for price in _read(what, str(pricing["currency"]), places)]
    return sorted(found, key=lambda price: (price.what, price.location))


def _read(what: str, currency: str, places: list[dict[str, Any]]) -> Iterator[Price]:
    for place in places:
        hourly, monthly = place["price_hourly"], place["price_monthly"]
        yield Price(
            what=what,
            location=str(place["location"]),
            currency=currency,
            hourly_net=Decimal(hourly["net"]),
            hourly_gross=Decimal(hourly["gross"]),
            monthly_net=Decimal(monthly["net"]),
            monthly_gross=Decimal(monthly["gross"]),
        )
