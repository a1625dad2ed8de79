"""Where requests for tenants' DNS hosts may go."""

import socket

import pytest
import requests

from control_plane.dns.plan import PublisherNeedsPerson
from control_plane.dns.publishers import public_only
from control_plane.dns.publishers.public_only import PublicOnly, is_public, public_address

PRIVATE = ["127.0.0.1", "10.77.0.53", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fd00::1"]  # noqa: S104
HOLDING = ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"]


@pytest.mark.parametrize("address", [*PRIVATE, *HOLDING])
def test_what_is_not_of_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["9.9.9.9", "2620:fe::fe"])
def test_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("9.9.9.9", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(PublisherNeedsPerson, match=r"dns\.acme\.example"):
        public_address("dns.acme.example")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_sent_to_a_private_address(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, requests.Session() as session:
        server.settimeout(0)
        session.trust_env = False
        session.mount(f"{scheme}://", PublicOnly())
        with pytest.raises(PublisherNeedsPerson):
            session.get(f"{scheme}://localhost:{server.getsockname()[1]}/", timeout=5)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_only, "is_public", lambda _: True)
    with socket.create_server(("127.0.0.1", 0)) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("https://", PublicOnly())
        monkeypatch.setattr(public_only, "public_address", lambda _: "127.0.0.1")
        # Whoever answers there speaks no TLS: it was reached under the judged address all the same.
        server.settimeout(5)
        with pytest.raises(requests.RequestException):
            session.get(f"https://dns.acme.example:{server.getsockname()[1]}/", timeout=0.3)
        server.accept()[0].close()
