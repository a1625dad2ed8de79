"""Hetzner's and Cloudflare's DNS on loopback, as their documentation describes them: one zone, one token."""

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dns.rdata

from control_plane.dns.resolve import value_of

TOKEN = "a token of the zone's owner"

#: Type and name, `@` for the apex, to values as in a zone file.
Records = dict[tuple[str, str], list[str]]
Answer = tuple[int, dict[str, Any]]


@dataclass
class FakeHost:
    """A running fake; `records` is what the zone holds, `faults` the answers that come before any other."""

    zone: str
    records: Records
    url: str = ""
    faults: list[Answer] = field(default_factory=list)

    def texts(self, name: str) -> set[str]:
        """Return the TXT values at a name as resolvers put them together."""
        return {value_of(dns.rdata.from_text("IN", "TXT", value)) for value in self.records.get(("TXT", name), ())}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        raise NotImplementedError

    def unauthorized(self) -> Answer:
        raise NotImplementedError


class FakeHetzner(FakeHost):
    """docs.hetzner.cloud, "Zones" and "Zone RRSets"."""

    def unauthorized(self) -> Answer:
        return 401, {"error": {"code": "unauthorized", "message": "unable to authenticate"}}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        match [method, *path.strip("/").split("/")]:
            case ["GET", "zones", zone] if zone == self.zone:
                return 200, {"zone": {"id": 1, "name": self.zone, "ttl": 3600, "mode": "primary"}}
            case ["GET", "actions", "1"]:
                return 200, {"action": _DONE}
            case ["GET", "zones", _, "rrsets"]:
                wanted = query.get("name", [""])[0]
                found = [self._rrset(key) for key in self.records if key[1] == wanted]
                meta = {"page": 1, "per_page": 50, "last_page": 1, "next_page": None, "previous_page": None}
                return 200, {"rrsets": found, "meta": {"pagination": meta}}
            case ["POST", "zones", _, "rrsets"]:
                return self._create((body["type"], body["name"]), [record["value"] for record in body["records"]])
            case ["POST", "zones", _, "rrsets", name, type_, "actions", action]:
                values = [record["value"] for record in body["records"]]
                return self._act(action, (type_, name), values)
        return 404, {"error": {"code": "not_found", "message": "no such thing"}}

    def _create(self, key: tuple[str, str], values: list[str]) -> Answer:
        if key in self.records:
            return 409, {"error": {"code": "uniqueness_error", "message": "the RRSet is there"}}
        self.records[key] = values
        return 201, {"rrset": self._rrset(key), "action": _DONE}

    def _act(self, action: str, key: tuple[str, str], values: list[str]) -> Answer:
        before = self.records.pop(key, [])
        match action:
            case "set_records":
                after = values
            case "add_records":
                after = before + values
            case _:
                after = [value for value in before if value not in values]
        if after:
            self.records[key] = after
        return 201, {"action": _DONE}

    def _rrset(self, key: tuple[str, str]) -> dict[str, Any]:
        type_, name = key
        records = [{"value": value, "comment": ""} for value in self.records[key]]
        return {
            "id": f"{name}/{type_}",
            "name": name,
            "type": type_,
            "ttl": None,
            "labels": {},
            "protection": {"change": False},
            "records": records,
            "zone": 1,
        }


_DONE = {
    "id": 1,
    "command": "set_rrset_records",
    "status": "success",
    "progress": 100,
    "error": None,
    "resources": [],
    "started": "2026-01-01T00:00:00+00:00",
    "finished": "2026-01-01T00:00:00+00:00",
}


@dataclass
class FakeCloudflare(FakeHost):
    """developers.cloudflare.com/api, "Zones" and "DNS records": a record has one value, and an id of its own."""

    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _ids: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def unauthorized(self) -> Answer:
        return 403, {"success": False, "errors": [{"code": 9109, "message": "Invalid access token"}]}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer:
        match [method, *path.strip("/").split("/")]:
            case ["GET", "zones"]:
                return _page([{"id": "z1", "name": self.zone, "plan": {}, "name_servers": []}])
            case ["GET", "zones", "z1", "dns_records"]:
                return _page(self._all())
            case ["POST", "zones", "z1", "dns_records"]:
                self._add(body)
                return 200, {"success": True, "result": {}}
            case ["PUT", "zones", "z1", "dns_records", number]:
                self._take(number)
                self._add(body)
                return 200, {"success": True, "result": {}}
            case ["DELETE", "zones", "z1", "dns_records", number]:
                self._take(number)
                return 200, {"success": True, "result": {}}
        return 404, {"success": False, "errors": [{"code": 7003, "message": "Could not route"}]}

    def _all(self) -> list[dict[str, Any]]:
        self._ids = {
            str(next(self._numbers)): (*key, value) for key, values in self.records.items() for value in values
        }
        return [self._shown(number, *of) for number, of in self._ids.items()]

    def _shown(self, number: str, type_: str, name: str, value: str) -> dict[str, Any]:
        fqdn = self.zone if name == "@" else f"{name}.{self.zone}"
        shown = {"id": number, "zone_id": "z1", "type": type_, "name": fqdn, "ttl": 1, "proxied": False}
        if type_ == "MX":
            priority, host = value.split(" ")
            return {**shown, "content": host.removesuffix("."), "priority": int(priority)}
        if type_ == "SRV":
            *numbers, target = value.split(" ")
            data = dict(zip(_SRV_NUMBERS, map(int, numbers), strict=True))
            return {**shown, "data": {**data, "target": target.removesuffix(".")}}
        return {**shown, "content": value}

    def _add(self, body: dict[str, Any]) -> None:
        name = body["name"].removesuffix(".").removesuffix(self.zone).removesuffix(".") or "@"
        self.records.setdefault((body["type"], name), []).append(_zone_file_value(body))

    def _take(self, number: str) -> None:
        type_, name, value = self._ids.pop(number)
        self.records[type_, name].remove(value)
        if not self.records[type_, name]:
            del self.records[type_, name]


_SRV_NUMBERS = ("priority", "weight", "port")


def _zone_file_value(body: dict[str, Any]) -> str:
    match body["type"]:
        case "MX":
            return f"{body['priority']} {body['content']}"
        case "SRV":
            data = body["data"]
            return " ".join([*(str(data[name]) for name in _SRV_NUMBERS), f"{data['target']}."])
        case _:
            return str(body["content"])


def _page(found: list[dict[str, Any]]) -> Answer:
    return 200, {"success": True, "result": found, "result_info": {"count": len(found), "per_page": 100, "page": 1}}


@contextmanager
def running(host: FakeHost) -> Iterator[None]:
    """Serve a fake for as long as the context is open, and set its URL."""

    class Door(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            if host.faults:
                status, content = host.faults.pop(0)
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, content = host.unauthorized()
            else:
                status, content = host.answer(self.command, parts.path, parse_qs(parts.query), body)
            raw = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        host.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
