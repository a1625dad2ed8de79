"""Where the runs take place: one installation, one sending server made through the API, and the sink. Serves all seeds.

What the harness turns on for itself, and no product code knows of: leases of seconds instead of minutes, so that they
run out within a run; processes that come back without long pauses though they are killed more often than any crash
loop would; and the places for mutants and a clock that can be set (`mutants/`).
"""

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from redis.asyncio import Redis

from control_plane.embedded.installation_record import InstallationRecord
from control_plane.processes import child
from control_plane.processes.all import Installation
from control_plane.processes.places import HOME, Places, state_dir
from control_plane.providers.base import ProviderError
from control_plane.providers.local.machine import machine_shell
from control_plane.providers.local.nameserver import nameserver_api_key
from control_plane.providers.local.provider import LocalProvider
from control_plane.providers.local.world import World
from tests.faults.checker import Copy
from tests.flow.spine import Party, SaysNothing, call, make_party

INSTANCE = "faults"
LEASE_SECONDS = 15
TOLERANCE_SECONDS = 3
CLOCK_TOLERANCE_SECONDS = 2
_DAILY_LIMIT = 1_000_000
MUTANTS = Path(__file__).parent / "mutants"
_SITE = "/opt/penguin-agent/current/lib/python3.11/site-packages"


@dataclass(frozen=True)
class Ground:
    """The running parts, and ways to get at them."""

    record: InstallationRecord
    state: Path
    sender: Party
    provider: LocalProvider

    @property
    def server_name(self) -> str:
        """The sending server, as its provider knows it."""
        return f"pm-{self.sender.server['id'].replace('-', '')[:12]}"

    @property
    def sink_journal(self) -> Path:
        """What the sink has written down."""
        return self.state / "sink.jsonl"

    @property
    def mutant_file(self) -> Path:
        """Names the mutant that processes of the control plane become when they start; absent: none."""
        return self.state / "mutant"

    @property
    def inbox_id(self) -> str:
        """The inbox that all is sent from."""
        return str(self.sender.inbox["id"])

    async def inside(self, *command: str, given: bytes = b"", check: bool = True) -> str:
        """Run a command in the server as its root and return what it printed."""
        shell = [*machine_shell(self.state, self.server_name), *command]
        process = await asyncio.create_subprocess_exec(*shell, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate(given)
        if check and process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}: {err.decode()}")
        return out.decode()

    async def until_booted(self) -> None:
        """Wait until the server has started its services."""
        async with asyncio.timeout(60):
            while (await self._system_state()).strip() not in {"running", "degraded"}:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.1)

    async def _system_state(self) -> str:
        try:
            return await self.inside("systemctl", "is-system-running", check=False)
        except ProviderError:
            return ""

    async def install_in_agent(self, module: str, then: str = "") -> None:
        """Have the agent import a module of `mutants/` when it starts, and start it again."""
        await self.inside("tee", f"{_SITE}/{module}.py", given=(MUTANTS / f"{module}.py").read_bytes())
        await self.inside("tee", f"{_SITE}/{module}.pth", given=f"import {module}; {then}\n".encode())
        await self.inside("systemctl", "restart", "penguin-agent")

    async def remove_from_agent(self, module: str) -> None:
        """Undo that."""
        await self.inside("rm", f"{_SITE}/{module}.pth", f"{_SITE}/{module}.py")
        await self.inside("systemctl", "restart", "penguin-agent")

    def process(self, module: str) -> psutil.Process:
        """Return the control plane's process that runs a module; raise `LookupError` when it does not run now."""
        for each in psutil.Process().children(recursive=True):
            if f"control_plane.processes.{module}" in _words(each):
                return each
        raise LookupError(module)

    def runs(self, module: str, other_than: int) -> bool:
        """Whether a process runs that module, and not the one of this pid."""
        try:
            return self.process(module).pid != other_than
        except LookupError:
            return False

    async def flush_redis(self) -> None:
        """Make Redis forget everything."""
        async with Redis.from_url(self.record.redis_url) as redis:
            await redis.flushall()

    def daemon(self, name: str) -> psutil.Process:
        """Return PostgreSQL's or Redis' first process; raise `LookupError` when it does not run now."""
        for each in psutil.Process().children(recursive=True):
            if _name(each) == name and _name(each.parent()) != name:
                return each
        raise LookupError(name)

    async def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Ask the database; again for a while when it is away."""
        for attempt in range(100):
            try:
                async with await psycopg.AsyncConnection.connect(self.record.system_database_url) as connection:
                    cursor = await connection.execute(query.encode(), parameters)
                    return await cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if attempt == 99:
                    raise
                await asyncio.sleep(0.3)
        raise AssertionError

    def copies(self, since: int) -> list[Copy]:
        """Return what the sink wrote down after byte `since` of its journal."""
        with self.sink_journal.open("rb") as journal:
            journal.seek(since)
            entries = [json.loads(line) for line in journal]
        heard = {entry["heard"] for entry in entries if "heard" in entry}
        return [
            Copy(each["message_id"], each["queue_id"], each["recipient"], each["body_sha256"], each["copy"] in heard)
            for each in entries
            if "copy" in each
        ]


@asynccontextmanager
async def standing_ground() -> AsyncIterator[Ground]:
    """Bring everything up, and take it down again."""
    state = state_dir(INSTANCE)
    World(state).destroy()
    shutil.rmtree(state, ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "_WELL_SECONDS", 0.0)
        patch.setenv("PENGUIN_LEASE_SECONDS", str(LEASE_SECONDS))
        patch.setenv("PENGUIN_LEASE_TOLERANCE_SECONDS", str(TOLERANCE_SECONDS))
        patch.setenv("PENGUIN_CLOCK_TOLERANCE_SECONDS", str(CLOCK_TOLERANCE_SECONDS))
        patch.setenv("PYTHONPATH", os.fspath(MUTANTS))
        patch.setenv("FAULTS_MUTANT_FILE", os.fspath(state / "mutant"))
        async with Installation(INSTANCE, 0, SaysNothing()) as installation:
            sender = await make_party(installation.record, "Acme", "sales@acme.example")
            await call(sender.client, "PATCH", f"/inboxes/{sender.inbox['id']}", {"daily_send_limit": _DAILY_LIMIT})
            places = Places(state, World(state).id, HOME / "wheelhouse", HOME / "images")
            ground = Ground(installation.record, state, sender, LocalProvider(places.cloud_socket))
            await ground.install_in_agent("faults_clock")
            async with _sink(ground):
                yield ground
            await sender.client.aclose()
    shutil.rmtree(state)


@asynccontextmanager
async def _sink(ground: Ground) -> AsyncIterator[None]:
    command = [*ground.record.enter, sys.executable, "-m", "tests.faults.sink", os.fspath(ground.sink_journal)]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(nameserver_api_key(ground.state).encode() + b"\n")
    if await asyncio.wait_for(process.stdout.readline(), 20) != b"ready\n":
        raise RuntimeError("the sink did not start")
    try:
        yield
    finally:
        process.stdin.close()
        await process.wait()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _name(process: psutil.Process | None) -> str:
    try:
        return process.name() if process else ""
    except psutil.Error:
        return ""
