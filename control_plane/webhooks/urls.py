"""URLs of endpoints, as they come from tenants.

What a name stands for is judged when it is connected to (attempt.py), for that may change; here is told at once what
can never be right.
"""

import ipaddress

import httpx

from control_plane.errors import InvalidInput
from control_plane.webhooks.addresses import is_public

LONGEST_URL = 2000
_OURS_ALONE = (".localhost", ".local", ".internal", ".arpa", ".onion")


def require_url(text: str, *, private_targets: bool) -> None:
    """Raise `InvalidInput` unless it is an absolute https:// URL of a host that may be public.

    With `private_targets` (a local installation's tests) http:// and any host will do.
    """
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, UnicodeError):  # the latter for what is no A-label
        raise InvalidInput("This is no URL.", "/url") from None
    schemes = ("https", "http") if private_targets else ("https",)
    port = 443 if url.port is None else url.port
    if url.scheme not in schemes or not host or not 0 < port < 65536:
        raise InvalidInput("The URL must begin with https:// and name a host.", "/url")
    if url.userinfo or url.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput("The URL must be ASCII, without a user, a password or a fragment.", "/url")
    if not private_targets and not may_be_public(host):
        raise InvalidInput("The URL must lead to a public address.", "/url")


def may_be_public(host: str) -> bool:
    """Return whether a host's name, or its address, may be one of anybody on the Internet."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        name = host.rstrip(".").lower()
        return "." in name and not name.endswith(_OURS_ALONE)
    return is_public(host)
