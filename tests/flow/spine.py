"""A whole installation for the flow tests, with what the steps share: tenants, servers, inboxes, and ways to look."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from control_plane.cli.demo_mailbox import MailboxWatch
from control_plane.embedded.installation_record import InstallationRecord
from control_plane.identity.api_keys import create_api_key
from control_plane.processes.all import Installation
from control_plane.processes.places import state_dir
from control_plane.providers.local.machine import machine_shell
from control_plane.providers.local.network import NAMESERVER
from control_plane.providers.local.world import World
from control_plane.tenancy.tenants import create_tenant, create_workspace
from db.session import Database
from mailstack import layout

FINAL = {"delivered", "bounced", "expired", "failed", "cancelled", "suppressed", "uncertain"}


class SaysNothing:
    """A `Progress` that nobody looks at."""

    def step(self, line: str) -> None:
        pass

    def detail(self, line: str) -> None:
        pass


@dataclass(frozen=True)
class Party:
    """One tenant, its server and its inbox, as the API told of them."""

    client: httpx.AsyncClient
    workspace_id: str
    server: dict[str, Any]
    inbox: dict[str, Any]


@dataclass(frozen=True)
class Spine:
    """The running installation."""

    record: InstallationRecord
    state_dir: Path
    sender: Party
    receiver: Party

    async def send(self, to: str, subject: str, **more: str) -> str:
        """Send from the sender's inbox and return the message's id."""
        order = {"to": to, "subject": subject, "text": "Hello.\n", **more}
        path = f"/inboxes/{self.sender.inbox['id']}/messages"
        return str((await call(self.sender.client, "POST", path, order))["id"])

    async def final(self, message_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """Return the message once its state is final."""
        return await until_key(self.sender.client, f"/messages/{message_id}", "state", FINAL, seconds)

    async def received(self, subject: str) -> tuple[str, dict[str, str]]:
        """Send, and return the message as it lies in the receiver's mailbox, and its server's verdicts."""
        async with self.watch_receiver() as watch:
            message_id = await self.send(self.receiver.inbox["email_address"], subject)
            arrival = await watch.arrival(subject, 60)
            assert (await self.final(message_id))["state"] == "delivered"
        found = self.inside(self.receiver, "grep", "-rl", f"^Subject: {subject}$", layout.MAIL_ROOT).split()
        return self.inside(self.receiver, "cat", found[0]), arrival.verdicts()

    def watch_receiver(self) -> MailboxWatch:
        """Watch the receiver's mailbox, from its first message on."""
        inbox = self.receiver.inbox
        host = inbox["imap_config"]["host"]
        return MailboxWatch(self.record.enter, host, inbox["email_address"], inbox["password"], str(NAMESERVER))

    def shell(self, party: Party) -> list[str]:
        """Return what to put in front of a command that shall run in the party's server, as root."""
        return machine_shell(self.state_dir, f"pm-{party.server['id'].replace('-', '')[:12]}")

    def inside(self, party: Party, *command: str) -> str:
        """Run a command in the party's server, as root, and return what it printed; it must succeed."""
        done = subprocess.run([*self.shell(party), *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def from_outside(self, script: str, *arguments: str) -> str:
        """Run Python where the servers can be reached and return what it printed; it must succeed."""
        command = [*self.record.enter, "python3", "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def process(self, name: str) -> psutil.Process:
        """Return the installation's process of that name."""
        module = f"control_plane.processes.{name}"
        children = psutil.Process(self.record.process.pid).children(recursive=True)
        return next(child for child in children if module in child.cmdline())


@asynccontextmanager
async def running_spine(instance: str, *addresses: str) -> AsyncIterator[Spine]:
    """Run an installation with a tenant, a server and an inbox for each address: the first sends, the last receives.

    What an earlier one of that name left is swept up; of this one nothing is left.
    """
    state = state_dir(instance)
    World(state).destroy()
    shutil.rmtree(state, ignore_errors=True)
    async with Installation(instance, 0, SaysNothing()) as installation:
        record = installation.record
        made = (make_party(record, address.partition("@")[2], address) for address in addresses)
        parties = await asyncio.gather(*made)
        yield Spine(record, state, parties[0], parties[-1])
        for party in parties:
            await party.client.aclose()
    shutil.rmtree(state)


async def call(client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await client.request(method, path, json=body)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    content: dict[str, Any] = answer.json() if answer.content else {}
    return content


async def until_key(
    client: httpx.AsyncClient, path: str, key: str, wanted: set[str], seconds: float = 120.0
) -> dict[str, Any]:
    """Read `path` until `key` is one of `wanted`."""
    deadline = time.monotonic() + seconds
    while True:
        thing = await call(client, "GET", path)
        if thing[key] in wanted:
            return thing
        assert time.monotonic() < deadline, f"{path} is {thing[key]} and not {wanted}: {thing}"
        await asyncio.sleep(0.1)


async def make_party(record: InstallationRecord, name: str, address: str) -> Party:
    """Make a tenant with a server and an inbox that may send."""
    database = Database(record.system_database_url, pool_size=1)
    async with database.system() as session:
        tenant_id = await create_tenant(session, name)
        workspace_id = await create_workspace(session, tenant_id, "flow")
        key = await create_api_key(session, tenant_id, "flow")
    await database.close()
    client = httpx.AsyncClient(
        base_url=f"{record.rest_url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    order = {"provider": "local", "size": "starter", "region": "local"}
    server = await call(client, "POST", f"/workspaces/{workspace_id}/vps", order)
    server = await until_key(client, f"/vps/{server['id']}", "status", {"ready", "failed"})
    assert server["status"] == "ready", server
    wish = {"email_address": address, "vps_provider": "local", "vps_size": "starter", "vps_id": server["id"]}
    made = await call(client, "POST", f"/workspaces/{workspace_id}/inboxes", wish)
    await call(client, "PATCH", f"/inboxes/{made['id']}", {"daily_send_limit": 10_000})
    inbox = await until_key(client, f"/inboxes/{made['id']}", "status", {"ready", "failed"})
    assert inbox["status"] == "ready", inbox
    return Party(client, str(workspace_id), server, {**inbox, "password": made["password"]})
