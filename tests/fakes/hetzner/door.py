"""The fake over HTTP on loopback: tokens, rate limit, script of faults, one request at a time.

with running_hetzner() as fake:
    fake.url, fake.token            # where, and with what
    fake.project.sold_out.add(("cx23", "fsn1"))
    fake.script.add(Fault("POST", "/servers", lose=Loss.CLOSED))
    fake.project.costs.servers_created
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.fakes.hetzner.errors import ApiError
from tests.fakes.hetzner.faults import Fault, Loss, Script
from tests.fakes.hetzner.project import Project
from tests.fakes.hetzner.routes import Call, route
from tests.fakes.hetzner.shapes import Json

_PREFIX = "/v1"


@dataclass
class Limit:
    """The project's rate limit: so many in an hour, filling up steadily."""

    per_hour: int = 3600
    remaining: float = 3600.0
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Count a request; return whether it may be answered."""
        self.remaining = min(self.remaining + max(now - self.at, 0.0) * self.per_hour / 3600.0, float(self.per_hour))
        self.at = now
        if self.remaining < 1.0:
            return False
        self.remaining -= 1.0
        return True

    def headers(self) -> dict[str, str]:
        """Return what every answer says of it."""
        full = self.at + (self.per_hour - self.remaining) * 3600.0 / self.per_hour
        return {
            "RateLimit-Limit": str(self.per_hour),
            "RateLimit-Remaining": str(int(self.remaining)),
            "RateLimit-Reset": str(int(full)),
        }


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    body: Json


@dataclass
class FakeHetzner:
    """What a test sees of it. `clock` and `token` may be changed at any time."""

    project: Project
    clock: Callable[[], float]
    token: str = "fake-token-of-a-project"
    read_only_tokens: set[str] = field(default_factory=set)
    url: str = ""
    script: Script = field(default_factory=Script)
    limit: Limit = field(default_factory=Limit)
    seen: list[Seen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def requests(self, method: str, path: str) -> list[Seen]:
        """Return the requests of that method and path that came in."""
        return [each for each in self.seen if (each.method, each.path) == (method, path)]

    def answer(self, token: str, method: str, target: str, raw: bytes) -> tuple[int, Json, Fault | None]:
        """Do what is asked and return status, body and what happens to them on the way."""
        parts = urlsplit(target)
        path = parts.path.removeprefix(_PREFIX)
        body = json.loads(raw) if raw else {}
        self.seen.append(Seen(method, path, body))
        fault = None
        try:
            self._admit(token, method)
            fault = self.script.take(method, path, body)
            _refuse(fault)
            self.project.settle()
            handler, numbers = route(method, path)
            status, answer = handler(Call(self.project, numbers, body, parse_qs(parts.query), fault))
        except ApiError as error:
            return error.status, error.body, fault
        return status, answer, fault

    def _admit(self, token: str, method: str) -> None:
        if not self.limit.take(self.clock()):
            raise ApiError("rate_limit_exceeded", "limit of 3600 requests per hour reached")
        if token in self.read_only_tokens:
            if method != "GET":
                raise ApiError("token_readonly", "token is only allowed to perform GET requests")
        elif token != self.token:
            raise ApiError("unauthorized", "the token you provided is invalid")


def _refuse(fault: Fault | None) -> None:
    if fault is not None and fault.refuse is not None:
        raise ApiError(fault.refuse, fault.message, fault.details)


@contextmanager
def running_hetzner(
    *, action_seconds: float = 0.0, clock: Callable[[], float] = time.time, port: int = 0
) -> Iterator[FakeHetzner]:
    """Run a fake on loopback for as long as the block lasts."""
    fake = FakeHetzner(Project(clock, action_seconds), clock)
    server = _Server(fake, port)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}{_PREFIX}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="fake-hetzner")
    thread.start()
    try:
        yield fake
    finally:
        fake.script.release()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeHetzner, port: int) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: Head and body leave together; apart, the second would wait for the client's delayed acknowledgement.
    wbufsize = 64 * 1024
    #: Seconds; an idle connection must not outlive its client.
    timeout: ClassVar[float] = 30.0
    server: _Server

    def _handle(self) -> None:
        fake = self.server.fake
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        with fake.lock:
            status, body, fault = fake.answer(token, self.command, self.path, raw)
            headers = fake.limit.headers()
        loss = fault.lose if fault is not None else None
        if loss is Loss.SILENCE:
            fake.script.wait_for_release()
        if loss in {Loss.SILENCE, Loss.CLOSED}:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif loss is Loss.GATEWAY_TIMEOUT:
            self._send(504, b"<html>gateway time-out</html>", "text/html", {})
        elif loss is Loss.GARBLED:
            self._send(200, b"<html>", "text/html", headers)
        else:
            self._send(status, b"" if status == 204 else json.dumps(body).encode(), "application/json", headers)

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "X-Correlation-Id": "fake"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - as http.server has them

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ANN401 - as http.server has it
        """Keep quiet."""
