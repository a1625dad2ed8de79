"""The fake over HTTP on loopback: HTTP 200 for errors, three shapes of answers, a key bound to an address.

with running_hostwinds() as fake:
    fake.url, fake.key                      # where, and with what
    fake.allowed = {"192.0.2.1"}            # the key is refused from everywhere else
    fake.script.add(Fault("add_instance", "", lose=Loss.CLOSED))
    fake.account.costs.double_charges
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
from urllib.parse import parse_qsl

from tests.fakes.hetzner.faults import Fault, Loss, Script
from tests.fakes.hostwinds.account import PLANS, ApiError, HostwindsAccount


@dataclass
class FakeHostwinds:
    """What a test sees of it."""

    account: HostwindsAccount
    key: str = "fake-key-of-an-account"
    url: str = ""
    allowed: set[str] = field(default_factory=lambda: {"127.0.0.1"})
    #: Requests that are still answered; None for no limit.
    budget: int | None = None
    script: Script = field(default_factory=Script)
    #: The actions that came in.
    seen: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, peer: str, form: dict[str, str]) -> tuple[int, object, Fault | None]:
        """Do what is asked and return status, content and what happens to them on the way."""
        action = form.get("action", "")
        self.seen.append(action)
        if form.get("API") != self.key or peer not in self.allowed:
            return 200, "Not Authorized!", None
        if self.budget is not None and len(self.seen) > self.budget:
            return 429, "slow down", None
        fault = self.script.take(action, "", form)
        try:
            _refuse(fault)
            return 200, _ACTIONS.get(action, _unknown)(self.account, form), fault
        except ApiError as error:
            return 200, _error(action, error), fault


def _refuse(fault: Fault | None) -> None:
    if fault is not None and fault.refuse is not None:
        raise ApiError(fault.message or fault.refuse, fault.refuse)


def _error(action: str, error: ApiError) -> object:
    if action == "get_price_list":
        return {"error": str(error)}
    number = {} if error.code is None else {"ERROR": error.code}
    return [{"result": "error", "action": action, "message": str(error), **number}]


def _unknown(_account: HostwindsAccount, _form: dict[str, str]) -> object:
    # `create_instance`, which some transcripts have, ends here.
    raise ApiError("Invalid action.", "1000001")


def _add(account: HostwindsAccount, form: dict[str, str]) -> object:
    account.add(form)
    paid = {"result": "success", "action": "Invoice Paid", "message": "Invoice has been paid"}
    return [paid, {"result": "success", "action": "Add Instance", "message": "Server is being Created!"}]


def _list(account: HostwindsAccount, _form: dict[str, str]) -> object:
    return account.listed()


def _price_list(_account: HostwindsAccount, _form: dict[str, str]) -> object:
    keys = ("rid", "name", "ram", "cpu", "disk", "monthly")
    return {"success": {plan[0]: dict(zip(keys, plan, strict=True)) for plan in PLANS}}


def _terminate(account: HostwindsAccount, form: dict[str, str]) -> object:
    account.instances.remove(account.existing(form))
    return _done("Instance deleted")


def _power(state: int) -> "Action":
    def switch(account: HostwindsAccount, form: dict[str, str]) -> object:
        account.existing(form)["power_state"] = state
        return _done("Instance has been switched")

    return switch


def _reinstall(account: HostwindsAccount, form: dict[str, str]) -> object:
    instance = account.existing(form)
    if not form.get("template"):
        raise ApiError("template is required.", "4411022")
    instance["busy_until"] = account.clock() + account.made_after
    account.reinstalled += 1
    return _done("Instance is being rebuilt!")


def _reverse_dns(account: HostwindsAccount, form: dict[str, str]) -> object:
    if account.existing(form)["main_ip"] != form.get("ip"):
        raise ApiError("The IP does not belong to the instance.")
    account.reverse_dns[form["ip"]] = form["rdns"]
    return _done("rDNS record updated.")


def _done(message: str) -> object:
    return [{"result": "success", "message": message}]


Action = Callable[[HostwindsAccount, dict[str, str]], object]
_ACTIONS: dict[str, Action] = {
    "add_instance": _add,
    "get_instances": _list,
    "get_price_list": _price_list,
    "terminate": _terminate,
    "boot": _power(1),
    "shutdown": _power(4),
    "reboot": _power(1),
    "reinstall_instance": _reinstall,
    "set_rdns": _reverse_dns,
}


@contextmanager
def running_hostwinds(*, clock: Callable[[], float] = time.time) -> Iterator[FakeHostwinds]:
    """Run a fake on loopback for as long as the block lasts."""
    fake = FakeHostwinds(HostwindsAccount(clock))
    server = _Server(fake)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/cloud/api.php"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="fake-hostwinds")
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

    def __init__(self, fake: FakeHostwinds) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    timeout: ClassVar[float] = 30.0
    server: _Server

    def do_POST(self) -> None:
        fake = self.server.fake
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with fake.lock:
            status, answer, fault = fake.answer(self.client_address[0], dict(parse_qsl(raw.decode())))
        loss = fault.lose if fault is not None else None
        if loss is Loss.SILENCE:
            fake.script.wait_for_release()
        if loss in {Loss.SILENCE, Loss.CLOSED}:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif loss is Loss.GATEWAY_TIMEOUT:
            self._send(504, b"<html>gateway time-out</html>")
        elif loss is Loss.GARBLED:
            self._send(200, b"<html>")
        else:
            self._send(status, answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ANN401 - as http.server has it
        """Keep quiet."""
