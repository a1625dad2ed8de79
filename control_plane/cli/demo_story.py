"""What the demo does, from two new tenants to the last message in its mailbox, and what it measured.

Each step raises `DemoFailed` with one line that says why, when something is missing.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from control_plane.cli.demo_mailbox import Arrival, MailboxWatch, WatchFailed
from control_plane.embedded.installation_record import InstallationRecord
from control_plane.identity.api_keys import create_api_key
from control_plane.processes.progress import Progress
from control_plane.tenancy.tenants import create_tenant, create_workspace
from db.session import Database

_MESSAGES = 20
_SERVER_SECONDS = 180.0
_INBOX_SECONDS = 120.0
_ARRIVAL_SECONDS = 30.0
_FINAL_SECONDS = 30.0
_LOOK_SECONDS = 0.1


class DemoFailed(Exception):
    """A step did not do what it should; the message says which and why."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What `penguin demo --json` prints; times in seconds."""

    #: Host name -> from the request until `ready`.
    provision_seconds: dict[str, float]
    #: From the API's 202 until the message is seen in the mailbox: `p50` and `p95`.
    api_to_mailbox_seconds: dict[str, float]
    #: The last message as the API tells it, with its timeline.
    message: dict[str, Any]
    #: `dkim`, `spf` and `dmarc` as the receiving server saw them, and `dkim_verified` by another library here.
    received: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Party:
    """One tenant with its workspace and a client that carries its API key."""

    name: str
    workspace_id: str
    client: httpx.AsyncClient


@dataclass(frozen=True, slots=True)
class _Route:
    """From which inbox to which address."""

    sender: _Party
    inbox_id: str
    recipient: str


async def tell_story(record: InstallationRecord, nameserver: str, progress: Progress) -> DemoReport:
    """Run the whole demo against a running installation; raises `DemoFailed`."""
    sender = await _make_party(record, "Acme")
    receiver = await _make_party(record, "Beta")
    async with sender.client, receiver.client:
        progress.detail("two servers, from nothing")
        servers = await asyncio.gather(_make_server(sender, progress), _make_server(receiver, progress))
        progress.detail("an inbox on each: DKIM key, DNS records, mailbox")
        outbox, inbox = await asyncio.gather(
            _make_inbox(sender, "sales@acme.example", servers[0][0]),
            _make_inbox(receiver, "hello@beta.example", servers[1][0]),
        )
        progress.step(f"ready to send: {outbox['email_address']} -> {inbox['email_address']}")
        login = (inbox["imap_config"]["host"], inbox["email_address"], inbox["password"])
        watch = MailboxWatch(record.enter, *login, nameserver)
        sent = await _send_all(_Route(sender, outbox["id"], inbox["email_address"]), watch, progress)
    provisioned = {server["hostname"]: round(took, 2) for server, took in servers}
    return DemoReport(provisioned, *sent)


async def _send_all(
    route: _Route, watch: MailboxWatch, progress: Progress
) -> tuple[dict[str, float], dict[str, Any], dict[str, Any]]:
    """Send one message after the other; return the times, the last message, and what its receiver saw of it."""
    seconds: list[float] = []
    try:
        async with watch:
            for number in range(1, _MESSAGES + 1):
                message_id, took, arrival = await _send(route, number, watch)
                seconds.append(took)
                progress.detail(f"message {number} of {_MESSAGES} arrived after {took * 1000:.0f} ms")
    except WatchFailed as error:
        raise DemoFailed(str(error)) from None
    times = {"p50": _percentile(seconds, 50), "p95": _percentile(seconds, 95)}
    progress.step(f"{_MESSAGES} messages arrived, half of them within {times['p50']:.3f} s")
    message = await _until(route.sender, f"/messages/{message_id}", "delivered", _FINAL_SECONDS, key="state")
    return times, message, _received(arrival)


# ---------------------------------------------------------------- steps


async def _make_party(record: InstallationRecord, name: str) -> _Party:
    database = Database(record.system_database_url, pool_size=1)
    try:
        async with database.system() as session:
            tenant_id = await create_tenant(session, name)
            workspace_id = await create_workspace(session, tenant_id, "Demo")
            key = await create_api_key(session, tenant_id, "demo")
    finally:
        await database.close()
    client = httpx.AsyncClient(
        base_url=f"{record.rest_url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    return _Party(name, str(workspace_id), client)


async def _make_server(party: _Party, progress: Progress) -> tuple[dict[str, Any], float]:
    """Ask for a server and wait until it is ready; return it and the seconds it took."""
    order = {"provider": "local", "size": "starter", "region": "local"}
    started = time.monotonic()
    server = await _call(party, "POST", f"/workspaces/{party.workspace_id}/vps", order)
    server = await _until(party, f"/vps/{server['id']}", "ready", _SERVER_SECONDS)
    took = time.monotonic() - started
    progress.step(f"server {server['hostname']} of {party.name} is ready after {took:.1f} s")
    return server, took


async def _make_inbox(party: _Party, address: str, server: dict[str, Any]) -> dict[str, Any]:
    """Ask for an inbox and wait until it may send; return it with the password that is shown once."""
    order = {
        "email_address": address,
        "display_name": f"{party.name} demo",
        "vps_provider": "local",
        "vps_size": "starter",
        "vps_id": server["id"],
    }
    made = await _call(party, "POST", f"/workspaces/{party.workspace_id}/inboxes", order)
    ready = await _until(party, f"/inboxes/{made['id']}", "ready", _INBOX_SECONDS)
    return {**ready, "password": made["password"]}


async def _send(route: _Route, number: int, watch: MailboxWatch) -> tuple[str, float, Arrival]:
    subject = f"Demo message {number}"
    order = {
        "to": route.recipient,
        "subject": subject,
        "text": f"This is message {number} of {_MESSAGES}.\n",
        "html": f"<p>This is message <b>{number}</b> of {_MESSAGES}.</p>",
    }
    accepted = await _call(route.sender, "POST", f"/inboxes/{route.inbox_id}/messages", order)
    accepted_at = time.time()
    arrival = await watch.arrival(subject, _ARRIVAL_SECONDS)
    return accepted["id"], arrival.seen_at - accepted_at, arrival


def _received(arrival: Arrival) -> dict[str, Any]:
    """Return what the receiving server said of the message; raise unless it passed everything."""
    verdicts = arrival.verdicts()
    for method in ("dkim", "spf", "dmarc"):
        if verdicts.get(method) != "pass":
            raise DemoFailed(f"the receiving server saw {method}={verdicts.get(method, 'nothing')}, not pass")
    if not arrival.dkim_verified:
        raise DemoFailed("the DKIM signature of the received message does not verify with an independent library")
    return {**verdicts, "dkim_verified": True}


# ---------------------------------------------------------------- talking to the API


async def _call(party: _Party, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        answer = await party.client.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise DemoFailed(f"{method} {path} got no answer: {error!r}") from None
    if not answer.is_success:
        raise DemoFailed(f"{method} {path} was answered {answer.status_code}: {answer.text}")
    content: dict[str, Any] = answer.json()
    return content


async def _until(party: _Party, path: str, wanted: str, seconds: float, key: str = "status") -> dict[str, Any]:
    """Read `path` until its state is `wanted`; raise when it ends otherwise or takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        thing = await _call(party, "GET", path)
        if thing[key] == wanted:
            return thing
        if thing[key] in {"failed", "bounced", "expired", "uncertain"} or time.monotonic() > deadline:
            reason = thing.get("status_reason") or thing.get("state_reason") or f"after {seconds:g} s"
            raise DemoFailed(f"{path} is {thing[key]} and not {wanted}: {reason}")
        await asyncio.sleep(_LOOK_SECONDS)


def _percentile(values: Sequence[float], percent: int) -> float:
    """Return the nearest-rank percentile, in milliseconds' precision."""
    rank = math.ceil(len(values) * percent / 100)
    return round(sorted(values)[rank - 1], 3)
