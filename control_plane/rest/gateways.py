"""Who a request comes from when it comes through a gateway: the nearest address that is no gateway of ours.

Gateways say so in X-Forwarded-For or in Forwarded (RFC 7239), and each adds to what it was sent. Only those that the
settings name are believed. A request with both headers is refused: a gateway that writes one of them may have passed
on what its client wrote into the other.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.errors import UnclearOrigin
from control_plane.identity.networks import Network, address_of, lies_in
from control_plane.rest.problems import problem_answer

_LIST, _STANDARD, _SCHEME = "x-forwarded-for", "forwarded", "x-forwarded-proto"
_SCHEMES = ("http", "https")
# A token or a quoted string (RFC 7239, section 4; RFC 9110, section 5.6), with what ends it.
_PAIR = re.compile(
    r"""[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*"))?[ \t]*([;,]|\Z)"""
)
# An address, in brackets if it is of version 6, and perhaps a port (section 6).
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


class BelievesGateways:
    """Middleware: has the request's client and scheme be what its gateway says."""

    def __init__(self, app: ASGIApp, gateways: Iterable[str]) -> None:
        self._app = app
        self._gateways = [ip_network(each) for each in gateways]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["client"] and lies_in(address_of(scope["client"][0]), self._gateways):
            try:
                _believe(scope, self._gateways)
            except UnclearOrigin as error:
                await problem_answer(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def parse_forwarded(value: str) -> Sequence[dict[str, str]]:
    """Return the elements of Forwarded, that of the first gateway first; raise `UnclearOrigin`."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(value):
        pair = _PAIR.match(value, at)
        if pair is None or (pair[1] and pair[1].lower() in elements[-1]):
            raise UnclearOrigin("Forwarded is not as RFC 7239 has it.")
        if pair[1]:
            elements[-1][pair[1].lower()] = re.sub(r"\\(.)", r"\1", pair[2].strip('"'))
        if pair[3] == ",":
            elements.append({})
        at = pair.end()
    return elements


def nearest_stranger(hosts: Sequence[str], gateways: Collection[Network]) -> str | None:
    """Return the last of the hosts that is no gateway, which is what the last gateway saw; None when all are."""
    return next((host for host in reversed(hosts) if not lies_in(address_of(host), gateways)), None)


def _believe(scope: Scope, gateways: Collection[Network]) -> None:
    headers = Headers(scope=scope)
    standard, listed = ", ".join(headers.getlist(_STANDARD)), ", ".join(headers.getlist(_LIST))
    if standard and listed:
        raise UnclearOrigin("Forwarded and X-Forwarded-For came together; gateways take out what they do not write.")
    elements = parse_forwarded(standard) if standard else []
    hosts = [_host(each.get("for", "")) for each in elements] or [each.strip() for each in listed.split(",")]
    stranger = nearest_stranger([host for host in hosts if host], gateways)
    if stranger is not None:
        scope["client"] = (stranger, 0)
    scheme = elements[-1].get("proto", "") if elements else headers.get(_SCHEME, "")
    if scheme.lower() in _SCHEMES:
        scope["scheme"] = scheme.lower()


def _host(node: str) -> str:
    """Return the address of a node; what is none (`unknown`, `_hidden`) as it is, which no network holds."""
    found = _NODE.fullmatch(node)
    return (found[1] or found[2]) if found else node
