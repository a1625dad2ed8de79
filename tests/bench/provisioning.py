"""`provisioning`: local servers as a user asks for them: one until it is ready, ten side by side, one removed.

Ready means that the agent is connected, certificate and DNS are there and mail was seen to flow. The notes say how long
each step of a server took, and whose certificate it shows.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg

from control_plane.embedded.installation_record import read_process
from control_plane.embedded.postgres import OWNER
from control_plane.errors import Conflict
from control_plane.identity.api_keys import create_api_key
from control_plane.processes.all import Installation
from control_plane.processes.places import state_dir
from control_plane.providers.local.record import servers_dir
from control_plane.providers.local.world import World
from control_plane.tenancy.tenants import create_tenant, create_workspace
from db.session import Database
from tests.bench.report import Goal, Rounds
from tests.flow.spine import SaysNothing, call, until_key

INSTANCE = "bench-provisioning"
_MANY = 10
#: What a server at rest needs, with its mail daemons and the cache of its disk.
_MEMORY_EACH = 300 << 20
_PATIENCE = 300.0
_ORDER = {"provider": "local", "size": "starter", "region": "local"}
_STEPS = """
SELECT s.name, extract(epoch FROM s.finished_at - s.started_at)::float8, coalesce(s.result ->> 'certificate', '')
FROM pipeline_steps s JOIN pipeline_runs r ON r.id = s.run_id
WHERE r.subject_id = %(server)s AND r.kind = %(kind)s AND s.state = 'done' ORDER BY s.position
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where servers are asked for, and where to look."""

    client: httpx.AsyncClient
    workspace: str
    owner_url: str
    servers: Path

    async def provision(self) -> str:
        """Ask for a server and return its id once it is ready."""
        made = await call(self.client, "POST", f"/workspaces/{self.workspace}/vps", _ORDER)
        server = await until_key(self.client, f"/vps/{made['id']}", "status", {"ready", "failed"}, _PATIENCE)
        if server["status"] != "ready":
            raise RuntimeError(f"a server failed: {server['status_reason']}")
        return str(made["id"])

    async def remove(self, server: str) -> None:
        """Have it removed, and return when it is; nothing of it may be left."""
        await call(self.client, "DELETE", f"/vps/{server}")
        await until_key(self.client, f"/vps/{server}", "status", {"deleted"}, _PATIENCE)
        if (self.servers / f"pm-{server.replace('-', '')[:12]}").exists():
            raise RuntimeError(f"something of {server} is left in {self.servers}")

    def steps(self, server: str, kind: str) -> str:
        """Say how long each step took."""
        with psycopg.connect(self.owner_url, autocommit=True) as connection:
            rows = connection.execute(_STEPS, {"server": server, "kind": kind}).fetchall()
        return ", ".join(
            f"{name} {seconds:.1f}{f' ({certificate})' if certificate else ''}" for name, seconds, certificate in rows
        )


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    _refuse_without_memory()
    async with _running_desk() as desk:
        for _ in range(rounds):
            await _measure_one(desk, result)
        started = time.perf_counter()
        many = await asyncio.gather(*(desk.provision() for _ in range(_MANY)))
        result.add("seconds_for_ten", time.perf_counter() - started)
        result.notes.append(f"the last of ten, by step: {desk.steps(many[-1], 'vps.provision')}")
        await asyncio.gather(*map(desk.remove, many))
    for name, goal in (("seconds_to_ready", 20.0), ("seconds_for_ten", 90.0), ("seconds_to_remove", 5.0)):
        result.hold(name, name, Goal(goal, at_most=True))
    return result


async def _measure_one(desk: Desk, result: Rounds) -> None:
    started = time.perf_counter()
    server = await desk.provision()
    ready = time.perf_counter()
    await desk.remove(server)
    result.add("seconds_to_ready", ready - started)
    result.add("seconds_to_remove", time.perf_counter() - ready)
    for kind in ("vps.provision", "vps.decommission"):
        result.notes.append(f"{kind}, by step: {desk.steps(server, kind)}")


def _refuse_without_memory() -> None:
    free = psutil.virtual_memory().available
    if free < _MANY * _MEMORY_EACH:
        raise Conflict(f"{_MANY} servers need {_MANY * _MEMORY_EACH >> 20} MiB, and {free >> 20} are free")


@asynccontextmanager
async def _running_desk() -> AsyncIterator[Desk]:
    state = state_dir(INSTANCE)
    if read_process(state):
        raise Conflict("another such bench runs on this checkout's local servers")
    World(state).destroy()
    shutil.rmtree(state, ignore_errors=True)
    try:
        async with Installation(INSTANCE, 0, SaysNothing()) as installation:
            record = installation.record
            database = Database(record.system_database_url, pool_size=1)
            async with database.system() as session:
                tenant = await create_tenant(session, "Acme")
                workspace = await create_workspace(session, tenant, "bench")
                key = await create_api_key(session, tenant, "bench")
            await database.close()
            headers = {"Authorization": f"Bearer {key}"}
            owner_url = record.system_database_url.replace("penguin_system", OWNER, 1)
            async with httpx.AsyncClient(base_url=f"{record.rest_url}/api/v1", headers=headers, timeout=30) as client:
                yield Desk(client, str(workspace), owner_url, servers_dir(World(state).directory))
    finally:
        shutil.rmtree(state, ignore_errors=True)
