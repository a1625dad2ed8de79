"""A real mail server on an installation of the bench's own, with a sink that takes whatever it delivers.

Everything runs in the installation's world, out of which no packet goes. The sink is Postfix's own smtp-sink, from the
servers' image, behind a zone of the world's nameserver: the server finds it as it finds any receiver.
"""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from control_plane.embedded.installation_record import InstallationRecord, read_process
from control_plane.embedded.postgres import OWNER
from control_plane.errors import Conflict
from control_plane.processes.all import Installation
from control_plane.processes.places import HOME, state_dir
from control_plane.providers.local.image import image_root
from control_plane.providers.local.machine import machine_shell
from control_plane.providers.local.nameserver import nameserver_api_key
from control_plane.providers.local.network import NAMESERVER
from control_plane.providers.local.recipes import BOOKWORM
from control_plane.providers.local.record import servers_dir
from control_plane.providers.local.world import World
from tests.flow.spine import Party, SaysNothing, make_party

INSTANCE = "bench"
SENDER = "sales@acme.example"
RECIPIENT = "b@sink.example"
_SINK = "10.77.0.25"
INJECTION_PORT = 10025
SESSIONS = 10
_LOOK = 0.01
_PATIENCE = 90.0
_ZONE = """
import json, sys, urllib.request
key, nameserver, sink = sys.argv[1:]
rrsets = [("sink.example.", "MX", "10 mx.sink.example."), ("mx.sink.example.", "A", sink)]
zone = {"name": "sink.example.", "kind": "Native", "nameservers": ["ns.sink.example."], "rrsets": [
    {"name": name, "type": kind, "ttl": 3600, "records": [{"content": content, "disabled": False}]}
    for name, kind, content in rrsets]}
request = urllib.request.Request(f"http://{nameserver}:8081/api/v1/servers/localhost/zones",
                                 json.dumps(zone).encode(), {"X-API-Key": key, "Content-Type": "application/json"})
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """The installation, its one tenant and server, and ways to look."""

    record: InstallationRecord
    state: Path
    party: Party

    @property
    def machine(self) -> str:
        return f"pm-{self.party.server['id'].replace('-', '')[:12]}"

    @property
    def root(self) -> Path:
        """The server's disk."""
        return servers_dir(World(self.state).directory) / self.machine / "root"

    @property
    def owner_url(self) -> str:
        return self.record.system_database_url.replace("penguin_system", OWNER, 1)

    def inside(self, *command: str) -> list[str]:
        """Return a command that runs in the server, as root."""
        return [*machine_shell(self.state, self.machine), *command]

    def run(self, *command: str) -> str:
        """Run a command in the server and return what it prints."""
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def source(self, count: int, size: int, port: int = INJECTION_PORT, *, kept: bool = False) -> list[str]:
        """Return the command that injects so many unsigned messages with Postfix's own load generator.

        By itself it connects for each message; with `kept` it goes on with its ten sessions.
        """
        options = ("-s", str(SESSIONS), "-m", str(count), "-l", str(size), "-f", SENDER, "-t", RECIPIENT)
        more = ("-d",) if kept else ()
        return self.inside("/usr/sbin/smtp-source", *options, *more, f"127.0.0.1:{port}")

    def query(self, statement: str, parameters: dict[str, object] | None = None) -> int:
        """Run a statement as the owner and return the number that it gives."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            row = connection.execute(statement.encode(), parameters).fetchone()
            return int(row[0]) if row else 0

    def python_seconds(self) -> dict[str, float]:
        """Return the CPU seconds of all Python of the installation, agents included, this process not: by process,
        "hub, user" and "hub, system" for instance.
        """
        seconds: dict[str, float] = {}
        for process in psutil.Process(os.getpid()).children(recursive=True):
            try:
                if process.name().startswith(("python", "penguin")):
                    name = process.cmdline()[-1].rpartition("/")[2].rpartition(".")[2]
                    times = process.cpu_times()
                    for kind, used in (("user", times.user), ("system", times.system)):
                        seconds[f"{name}, {kind}"] = seconds.get(f"{name}, {kind}", 0.0) + used
            except psutil.NoSuchProcess:
                continue
        return seconds


class Deliveries:
    """Counts the deliveries in a mail log from the moment it is made."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("rb")
        self._log.seek(0, os.SEEK_END)
        self._rest = b""
        self.count = 0

    def look(self) -> int:
        data = self._rest + self._log.read()
        whole, separator, self._rest = data.rpartition(b"\n")
        self.count += (whole + separator).count(b" status=sent ")
        return self.count

    async def until(self, count: int) -> float:
        """Wait for so many deliveries and return the moment of the last, by `time.perf_counter`."""
        deadline = time.monotonic() + _PATIENCE
        while self.look() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.count} of {count} were delivered")
            await asyncio.sleep(_LOOK)
        return time.perf_counter()


@asynccontextmanager
async def running_ground() -> AsyncIterator[Ground]:
    state = state_dir(INSTANCE)
    if read_process(state):
        raise Conflict("another bench runs on this checkout's local servers")
    World(state).destroy()
    shutil.rmtree(state, ignore_errors=True)
    try:
        async with Installation(INSTANCE, 0, SaysNothing()) as installation:
            record = installation.record
            party = await make_party(record, "Acme", SENDER)
            ground = Ground(record, state, party)
            ground.query("UPDATE inboxes SET daily_send_limit = 1000000000 RETURNING 1")
            with _sink(record.enter, nameserver_api_key(state)):
                yield ground
            await party.client.aclose()
    finally:
        shutil.rmtree(state, ignore_errors=True)


@contextmanager
def _sink(enter: Sequence[str], api_key: str) -> Iterator[None]:
    """Take mail for sink.example while open, on an address of its own: port 25 of the world's is taken."""
    subprocess.run([*enter, "ip", "address", "replace", f"{_SINK}/32", "dev", "lo"], check=True)
    zone = [*enter, "python3", "-c", _ZONE, api_key, str(NAMESERVER), _SINK]
    subprocess.run(zone, check=True, timeout=30)
    root = image_root(BOOKWORM, HOME / "images")
    sink = ["setpriv", "--pdeathsig", "KILL", "chroot", str(root)]
    command = [*enter, *sink, "/usr/sbin/smtp-sink", "-u", "postfix", f"{_SINK}:25", "500"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()
