"""A server of one's own joins: a bare local machine, the printed line, and mail that flows. Needs root."""

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.identity.api_keys import create_api_key
from control_plane.processes.all import Installation
from control_plane.processes.places import HOME, Places, state_dir
from control_plane.providers.base import ProviderBusy
from control_plane.providers.hostwinds.ssh import Login, start_joining
from control_plane.providers.local.machine import machine_shell
from control_plane.providers.local.provider import LocalProvider
from control_plane.providers.local.world import World
from control_plane.tenancy.tenants import create_tenant, create_workspace
from db.session import Database
from tests.flow.local_cloud import CHECKOUT, order
from tests.flow.spine import SaysNothing, call, until_key

INSTANCE = "own-server-test"
NAME = "bare"


@dataclass(frozen=True)
class Ground:
    """An installation without servers, a machine that knows nothing of it, and the tenant's client."""

    state: Path
    cloud: LocalProvider
    client: httpx.AsyncClient
    login: Login

    async def join_command(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "control_plane.cli.main", "node", "join-command", "--json"]
        options = ["--hostname", "mx-own", "--instance", INSTANCE]
        run = await asyncio.create_subprocess_exec(*command, *options, cwd=CHECKOUT, stdout=subprocess.PIPE)
        out, _ = await run.communicate()
        assert run.returncode == 0
        made: dict[str, Any] = json.loads(out)
        return made

    async def on_server(self, line: str) -> subprocess.CompletedProcess[str]:
        shell = [*machine_shell(self.state, NAME), "sh", "-c", line]
        return await asyncio.to_thread(subprocess.run, shell, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    state = state_dir(INSTANCE)
    World(state).destroy()
    shutil.rmtree(state, ignore_errors=True)
    async with Installation(INSTANCE, 0, SaysNothing()) as installation:
        record = installation.record
        database = Database(record.system_database_url, pool_size=1)
        async with database.system() as session:
            tenant_id = await create_tenant(session, "Acme")
            await create_workspace(session, tenant_id, "flow")
            key = await create_api_key(session, tenant_id, "flow")
        await database.close()
        base_url, headers = f"{record.rest_url}/api/v1", {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
            cloud = LocalProvider(Places(state, World(state).id, HOME / "wheelhouse", HOME / "images").cloud_socket)
            login = Login(tmp_path / "key", tmp_path / "known-hosts", record.enter)
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(login.key_file)]
            await asyncio.to_thread(subprocess.run, make, check=True)
            public = login.key_file.with_suffix(".pub").read_text()
            await cloud.create(order(NAME, f"#cloud-config\nssh_authorized_keys: [{json.dumps(public.strip())}]\n"))
            yield Ground(state, cloud, client, login)
    shutil.rmtree(state)


async def test_a_bare_server_joins_by_the_printed_line_and_is_ready_once_its_ptr_is_set(ground: Ground) -> None:
    void = await ground.join_command()
    made = await ground.join_command()
    path = f"/vps/{made['vps_id']}"
    assert void["vps_id"] == made["vps_id"]

    joined = await ground.on_server(made["command"])
    assert joined.returncode == 0, joined.stderr

    found = await ground.cloud.find(NAME)
    assert found is not None
    server = await until_reason(ground.client, path, "PTR")
    assert f"{found.ipv4_address} to mx-own.penguin.example" in server["status_reason"]
    await ground.cloud.set_reverse_dns(NAME, found.ipv4_address, made["hostname"])
    server = await until_key(ground.client, path, "status", {"ready", "failed"}, 60)
    assert (server["status"], server["ip_address"]) == ("ready", found.ipv4_address)
    assert server["specs"]["memory_bytes"] > 0

    again = await ground.on_server(made["command"])
    assert again.returncode == 1
    assert "has joined already" in again.stderr
    assert "nothing was changed" in again.stderr

    await call(ground.client, "DELETE", path)
    await until_key(ground.client, path, "status", {"deleted"}, 60)
    assert await ground.cloud.find(NAME) is not None


async def test_what_cannot_join_is_left_as_it_was(ground: Ground) -> None:
    made = await ground.join_command()
    await ground.on_server("sed -i s/VERSION_ID=.*/VERSION_ID=11/ /etc/os-release")
    unknown = await ground.on_server(made["command"])
    assert "this is debian 11; it must be one of Debian 12, Debian 13, Ubuntu 24.04" in unknown.stderr
    other = await ground.on_server(made["command"].replace("bootstrap.py", "manifest.json"))
    assert "not the one that this command was made for; nothing was run" in other.stderr
    assert (await ground.on_server("test -e /etc/penguin -o -e /usr/local/lib/penguin")).returncode == 1


@pytest.mark.timeout(240)
async def test_a_server_is_made_to_join_over_ssh_and_one_that_answers_with_another_key_gets_nothing(
    ground: Ground,
) -> None:
    """As at Hostwinds, where there is no user-data."""
    made = await ground.join_command()
    program = shlex.split(made["command"])[2]
    found = await ground.cloud.find(NAME)
    assert found is not None
    await until_joining(ground.login, found.ipv4_address, program)
    await until_reason(ground.client, f"/vps/{made['vps_id']}", "PTR")

    renew = "rm /etc/ssh/ssh_host_*; ssh-keygen -A && systemctl restart ssh"
    assert (await ground.on_server(renew)).returncode == 0
    with pytest.raises(ProviderBusy, match="ssh cannot enter"):
        await start_joining(ground.login, NAME, found.ipv4_address, program)


async def until_joining(login: Login, address: str, program: str) -> None:
    """Begin once the server lets us in."""
    async with asyncio.timeout(60):
        while True:
            try:
                await start_joining(login, NAME, address, program)
            except ProviderBusy:
                await asyncio.sleep(0.2)
            else:
                return


async def until_reason(client: httpx.AsyncClient, path: str, words: str) -> dict[str, Any]:
    """Read a server until what it waits for holds these words."""
    async with asyncio.timeout(60):
        while True:
            server = await call(client, "GET", path)
            if words in (server["status_reason"] or ""):
                return server
            await asyncio.sleep(0.1)
