"""IPv6 of real servers: named, reached, sent from where IPv4 does not lead, and not any more once its name is gone.

The host's own network never sees it: the world's prefix is unreachable there, and the world has no way out.
"""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator

import pytest

from control_plane.processes.places import HOME, Places
from control_plane.providers.local.network import NETWORK_V6
from control_plane.providers.local.provider import LocalProvider
from control_plane.providers.local.world import World
from mailstack import layout
from tests.flow.spine import Spine, call, running_spine

INSTANCE = "flow-ipv6"

#: Connects to each port that mail servers and programs use, and says which answered.
_OPEN = """
import socket, sys
for port in (25, 465, 587, 993):
    with socket.create_connection((sys.argv[1], port), 10):
        print(port)
"""


@pytest.fixture(scope="module")
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(INSTANCE, "sales@acme.example", "hello@beta.example") as running:
        yield running


def _cloud(spine: Spine) -> LocalProvider:
    places = Places(spine.state_dir, World(spine.state_dir).id, HOME / "wheelhouse", HOME / "images")
    return LocalProvider(places.cloud_socket)


def _host_route_to(address: str) -> str:
    """Return what the host's own network says of the way there."""
    asked = subprocess.run(["ip", "-6", "route", "get", address], capture_output=True, text=True, check=False)
    return asked.stdout + asked.stderr


def _world_routes(spine: Spine) -> set[str]:
    command = [*spine.record.enter, "ip", "-6", "-json", "route"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return {route["dst"] for route in json.loads(shown.stdout)}


async def _until_sending(spine: Spine, *, wanted: bool) -> None:
    """Wait until the sender's server may send over IPv6, or may not, and goes by that."""
    path, deadline = f"/vps/{spine.sender.server['id']}", time.monotonic() + 60
    while True:
        server = await call(spine.sender.client, "GET", path)
        is_applied = server["applied_version"] == server["desired_version"]
        if is_applied and (server["ipv6_sending_since"] is not None) is wanted:
            return
        assert time.monotonic() < deadline, server
        await asyncio.sleep(0.1)


async def _until_logged(spine: Spine, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in (log := spine.inside(spine.sender, "cat", layout.MAIL_LOG)):
        assert time.monotonic() < deadline, log
        await asyncio.sleep(0.1)


async def test_a_server_is_named_and_reached_over_ipv6_and_the_host_never_is(spine: Spine) -> None:
    await _until_sending(spine, wanted=True)
    server = await call(spine.receiver.client, "GET", f"/vps/{spine.receiver.server['id']}")
    report = await call(spine.receiver.client, "GET", f"/vps/{server['id']}/preflight")
    (named,) = [check for check in report["checks"] if check["kind"] == "reverse_dns_v6"]
    assert (named["about"], named["verdict"]) == (server["ipv6_address"], "passed")
    records = await call(spine.receiver.client, "GET", f"/inboxes/{spine.receiver.inbox['id']}/dns-records")
    assert f"ip6:{server['ipv6_address']}" in str(records)

    assert spine.from_outside(_OPEN, server["ipv6_address"]).split() == ["25", "465", "587", "993"]

    assert _host_route_to(server["ipv6_address"]) == "RTNETLINK answers: No route to host\n"
    assert _world_routes(spine) <= {str(NETWORK_V6), "fe80::/64"}


async def test_mail_goes_out_over_ipv6_where_ipv4_does_not_lead_until_the_name_is_gone(spine: Spine) -> None:
    await _until_sending(spine, wanted=True)
    client, server = spine.sender.client, spine.sender.server
    host = server["hostname"]
    received, verdicts = await spine.received("over either")
    assert f"from {host} ({host} [{server['ip_address']}])" in received

    spine.inside(spine.sender, "ip", "route", "add", "unreachable", spine.receiver.server["ip_address"])
    received, verdicts = await spine.received("over the one that leads there")
    # Postfix shows a client's name only when it resolves back to the client's address.
    assert f"from {host} ({host} [IPv6:{server['ipv6_address']}])" in received
    assert verdicts == {"dkim": "pass", "spf": "pass", "dmarc": "pass"}

    await _cloud(spine).set_reverse_dns(f"pm-{server['id'].replace('-', '')[:12]}", server["ipv6_address"], None)
    await call(client, "POST", f"/vps/{server['id']}/preflight")
    await _until_sending(spine, wanted=False)
    subject = "not without a name"
    message_id = await spine.send(spine.receiver.inbox["email_address"], subject)
    there = f"{spine.receiver.server['hostname']}[{spine.receiver.server['ip_address']}]:25"
    await _until_logged(spine, f"status=deferred (connect to {there}: No route to host)")

    spine.inside(spine.sender, "ip", "route", "del", "unreachable", spine.receiver.server["ip_address"])
    spine.inside(spine.sender, "postqueue", "-f")
    assert (await spine.final(message_id, 60))["state"] == "delivered"
    found = spine.inside(spine.receiver, "grep", "-rl", f"^Subject: {subject}$", layout.MAIL_ROOT).split()
    assert f"[{server['ip_address']}]" in spine.inside(spine.receiver, "cat", found[0])
