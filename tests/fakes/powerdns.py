"""A real PowerDNS of a test's own: on loopback, on free ports, its zones in a folder that goes with it."""

import secrets
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
_START_SECONDS = 20.0
_CONFIGURATION = """\
launch=gsqlite3
gsqlite3-database={folder}/zones.sqlite3
gsqlite3-pragma-synchronous=0
gsqlite3-dnssec=yes
dnsupdate=yes
allow-dnsupdate-from=127.0.0.1
socket-dir={folder}
local-address=127.0.0.1
local-port={dns_port}
api=yes
api-key={key}
webserver-address=127.0.0.1
webserver-port={api_port}
daemon=no
guardian=no
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
"""


@dataclass(frozen=True, slots=True)
class PowerDns:
    """A running server."""

    dns_port: int
    url: str
    key: str

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1/servers/localhost", headers={"X-API-Key": self.key}, trust_env=False
        )

    def create_zone(self, zone: str, rrsets: Mapping[tuple[str, str], Sequence[str]]) -> None:
        """Make a zone as its owner would; keys are type and fully qualified name, values as in a zone file."""
        body = {
            "name": f"{zone}.",
            "kind": "Native",
            "nameservers": [f"ns1.{zone}."],
            "rrsets": [
                {"name": f"{name}.", "type": type_, "ttl": 300, "records": [{"content": v} for v in values]}
                for (type_, name), values in rrsets.items()
            ],
        }
        with self.client() as client:
            client.post("/zones", json=body).raise_for_status()

    def allow_updates(self, zone: str, key_name: str) -> str:
        """Let the zone be changed by RFC 2136 with a TSIG key of this name, and return its secret."""
        with self.client() as client:
            body = {"name": key_name, "algorithm": "hmac-sha256"}
            made = client.post("/tsigkeys", json=body).raise_for_status().json()
            client.put(
                f"/zones/{zone}./metadata/TSIG-ALLOW-DNSUPDATE",
                json={"kind": "TSIG-ALLOW-DNSUPDATE", "metadata": [key_name]},
            ).raise_for_status()
        secret: str = made["key"]
        return secret

    def zone(self, zone: str) -> dict[tuple[str, str], set[str]]:
        """Return all that the zone holds, as it goes over the wire, but for its SOA."""
        with self.client() as client:
            rrsets = client.get(f"/zones/{zone}.").raise_for_status().json()["rrsets"]
        return {
            (r["type"], r["name"].rstrip(".")): {_as_sent(r["type"], record["content"]) for record in r["records"]}
            for r in rrsets
            if r["type"] != "SOA"
        }


@contextmanager
def running_powerdns() -> Iterator[PowerDns]:
    """Run a server for as long as the context is open."""
    with tempfile.TemporaryDirectory(prefix="penguin-dns-") as name:
        folder = Path(name)
        _create_database(folder / "zones.sqlite3")
        dns_port, api_port = _free_port(), _free_port()
        server = PowerDns(dns_port, f"http://127.0.0.1:{api_port}", secrets.token_hex(16))
        configuration = _CONFIGURATION.format(folder=folder, dns_port=dns_port, api_port=api_port, key=server.key)
        (folder / "pdns.conf").write_text(configuration)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["pdns_server", f"--config-dir={folder}"], stdout=log, stderr=log)
        try:
            _await_answer(server, process, folder / "log")
            yield server
        finally:
            process.terminate()
            process.wait(10)


def _as_sent(type_: str, content: str) -> str:
    """Undo what a zone file may escape or not, and how a text is split."""
    if type_ != "TXT":
        return content
    return content.removeprefix('"').removesuffix('"').replace('" "', "").replace("\\;", ";")


def _create_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(_SCHEMA.read_text())
    connection.close()


def _await_answer(server: PowerDns, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with server.client() as client:
        while True:
            try:
                client.get("/zones").raise_for_status()
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"pdns_server does not answer: {log.read_text()[-2000:]}") from None
                time.sleep(0.02)
            else:
                return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
