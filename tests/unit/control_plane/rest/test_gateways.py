import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from control_plane.errors import UnclearOrigin
from control_plane.rest.gateways import BelievesGateways, parse_forwarded
from control_plane.rest.request_id import NamesRequests

GATEWAYS = ("192.0.2.0/28", "2001:db8::1")
NEAR = "192.0.2.1"


def seen(*headers: tuple[str, str], peer: str = NEAR) -> tuple[str, str] | int:
    """Return which client and scheme the application sees, or the status of the refusal."""
    found: list[Any] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        found.append((scope["client"][0], scope["scheme"]))

    async def receive() -> Message:
        raise AssertionError("nobody reads")

    async def send(message: Message) -> None:
        found.append(message.get("status"))

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": raw}
    asyncio.run(NamesRequests(BelievesGateways(app, GATEWAYS))(scope, receive, send))
    answer: tuple[str, str] | int = found[0]
    return answer


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ("For=198.51.100.7;proto=https, for=192.0.2.2", "198.51.100.7"),
        # What a client wrote itself stands before what the gateway saw.
        ("for=203.0.113.1, for=198.51.100.7", "198.51.100.7"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ('for="198.51.100.7:443";by=192.0.2.1', "198.51.100.7"),
        ("for=unknown", "unknown"),
        ("for=203.0.113.1, for=_hidden", "_hidden"),
        ('for=203.0.113.1, for="[2001:db8::1]"', "203.0.113.1"),
        ("proto=https", NEAR),
    ],
)
def test_the_nearest_that_is_no_gateway_is_the_client(forwarded: str, client: str) -> None:
    answer = seen(("forwarded", forwarded))
    assert isinstance(answer, tuple)
    assert answer[0] == client


def test_several_headers_are_one_list() -> None:
    assert seen(("forwarded", "for=203.0.113.1"), ("forwarded", "for=198.51.100.7")) == ("198.51.100.7", "http")
    assert seen(("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "198.51.100.7")) == ("198.51.100.7", "http")


def test_the_nearest_gateway_says_the_scheme() -> None:
    assert seen(("forwarded", "for=198.51.100.7;proto=http, for=192.0.2.2;proto=https")) == ("198.51.100.7", "https")
    assert seen(("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")) == ("198.51.100.7", "https")
    assert seen(("forwarded", "for=198.51.100.7;proto=javascript")) == ("198.51.100.7", "http")


@pytest.mark.parametrize("header", [("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "198.51.100.7")])
def test_who_is_no_gateway_is_believed_nothing(header: tuple[str, str]) -> None:
    assert seen(header, peer="198.51.100.9") == ("198.51.100.9", "http")
    assert seen(("forwarded", "for="), header, peer="198.51.100.9") == ("198.51.100.9", "http")


def test_both_headers_together_are_refused() -> None:
    assert seen(("forwarded", "for=198.51.100.7"), ("x-forwarded-for", "198.51.100.7")) == 400


@pytest.mark.parametrize("forwarded", ["for", "for=", 'for="198.51.100.7', "for=a;for=b", "for=[::1]", "for=a b", "=a"])
def test_what_is_no_forwarded_header_is_refused(forwarded: str) -> None:
    assert seen(("forwarded", forwarded)) == 400


@given(st.text(max_size=60))
@example("for=192.0.2.9\n")
@example("\n")
def test_whatever_it_says_it_is_read_or_refused(forwarded: str) -> None:
    try:
        elements = parse_forwarded(forwarded)
    except UnclearOrigin:
        return
    assert all(name == name.lower() for element in elements for name in element)
