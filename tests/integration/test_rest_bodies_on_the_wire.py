import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from control_plane.rest.app import make_app
from control_plane.rest.body_limit import LimitsBodies
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.served import served
from tests.integration.test_rest_workspaces import names_of

BODY = json.dumps({"name": "Fishing"}).encode()


@pytest.fixture
def url(rest_settings: Settings) -> Iterator[str]:
    """A door that waits a tenth of a second for a part of a body, and three tenths for all of it."""
    with served(LimitsBodies(make_app(rest_settings), seconds=0.3, pause=0.1)) as url:
        yield url


def connection(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)


def head(tenant: SomeTenant, *fields: str) -> bytes:
    lines = [
        "POST /api/v1/workspaces HTTP/1.1",
        "Host: penguin.test",
        f"Authorization: Bearer {tenant.api_key}",
        "Content-Type: application/json",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def rest_of(connected: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    return b"".join(iter(lambda: connected.recv(65536), b""))


async def test_a_body_that_stops_is_refused_with_408_and_nothing_is_stored(
    url: str, tenant: SomeTenant, system_database: Database
) -> None:
    with connection(url) as slow:
        slow.sendall(head(tenant, f"Content-Length: {len(BODY) + 10}") + BODY)
        answer = rest_of(slow)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/request-timeout"
    assert await names_of(system_database, tenant) == ["Sales"]


async def test_a_body_that_drips_is_refused_when_its_time_is_up(
    url: str, tenant: SomeTenant, system_database: Database
) -> None:
    with connection(url) as slow:
        slow.sendall(head(tenant, "Content-Length: 100000"))
        slow.settimeout(0.05)
        answer = b""
        while not answer:
            slow.sendall(b" ")
            try:
                answer = slow.recv(65536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert await names_of(system_database, tenant) == ["Sales"]


async def test_a_sender_that_goes_away_in_the_middle_has_done_nothing(
    url: str, tenant: SomeTenant, system_database: Database
) -> None:
    with connection(url) as cut:
        cut.sendall(head(tenant, f"Content-Length: {len(BODY) + 10}") + BODY)
        cut.shutdown(socket.SHUT_WR)
        rest_of(cut)
    assert await names_of(system_database, tenant) == ["Sales"]


@pytest.mark.parametrize(
    "fields",
    [
        (f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY) + 1}"),
        (f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"),
        ("Content-Length: -1",),
        ("Content-Length: one",),
    ],
)
async def test_lengths_that_contradict_each_other_or_are_none_are_refused_with_400(
    url: str, tenant: SomeTenant, system_database: Database, fields: tuple[str, ...]
) -> None:
    with connection(url) as lying:
        lying.sendall(head(tenant, *fields) + BODY)
        answer = rest_of(lying)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert await names_of(system_database, tenant) == ["Sales"]


async def test_of_a_body_that_is_longer_than_it_says_nothing_is_stored_and_the_connection_ends(
    url: str, tenant: SomeTenant, system_database: Database
) -> None:
    with connection(url) as lying:
        lying.sendall(head(tenant, f"Content-Length: {len(BODY) - 1}") + BODY + b"more")
        answer = rest_of(lying)
    assert answer.startswith((b"HTTP/1.1 422 ", b"HTTP/1.1 400 "))
    assert await names_of(system_database, tenant) == ["Sales"]
