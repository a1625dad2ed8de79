"""Small pieces of what the API shows: addresses and their PTRs, images, places, and labels that it takes."""

import ipaddress
import re
from typing import Any

from tests.fakes.hetzner.catalogue import LOCATIONS
from tests.fakes.hetzner.errors import invalid

Json = dict[str, Any]
_LABEL_KEY = re.compile(
    r"([a-z0-9A-Z]([a-z0-9A-Z._-]{0,251}[a-z0-9A-Z])?/)?[a-z0-9A-Z]([a-z0-9A-Z._-]{0,61}[a-z0-9A-Z])?"
)
_LABEL_VALUE = re.compile(r"([a-z0-9A-Z]([a-z0-9A-Z._-]{0,61}[a-z0-9A-Z])?)?")
IMAGES = ("debian-12", "debian-13", "ubuntu-24.04")


def check_labels(labels: object) -> Json:
    """Return valid labels; raise invalid_input for others."""
    if not isinstance(labels, dict):
        raise invalid("labels", "must be an object")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or key.startswith("hetzner.cloud/") or not _LABEL_VALUE.fullmatch(str(value)):
            raise invalid("labels", f"'{key}' is not a valid label")
    return dict(labels)


def address_of(number: int) -> str:
    return str(ipaddress.IPv4Address("198.18.0.0") + number)


def inside(ip: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(ip) in ipaddress.ip_network(network)
    except ValueError:
        return False


def known_place(asked: object) -> str:
    """Return a location's name; it may be asked for by its name or its id."""
    for place in LOCATIONS:
        if asked in {place["name"], place["id"], str(place["id"])}:
            return str(place["name"])
    raise invalid("location", "location not found")


def default_ptr(ip: str) -> str:
    return f"static.{'.'.join(reversed(ip.split('.')))}.clients.your-server.de"


def ptr_of(address: Json) -> str:
    return str(address["dns_ptr"][0]["dns_ptr"])


def show_image(name: str) -> Json:
    return {
        "id": IMAGES.index(name) + 1,
        "name": name,
        "type": "system",
        "status": "available",
        "description": name,
        "image_size": None,
        "disk_size": 5,
        "created": "2026-01-01T00:00:00+00:00",
        "created_from": None,
        "bound_to": None,
        "os_flavor": name.partition("-")[0],
        "os_version": name.partition("-")[2],
        "rapid_deploy": True,
        "protection": {"delete": False},
        "deprecated": None,
        "deleted": None,
        "labels": {},
        "architecture": "x86",
    }
